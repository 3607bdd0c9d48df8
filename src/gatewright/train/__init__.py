"""From a table or a text to a trained and honestly evaluated model."""
