"""A run: its directory, its options, its models."""
