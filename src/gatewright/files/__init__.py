"""Files: atomic writes, locks, the model file."""
