"""The kinds of models: how each reads data, trains, evaluates."""
