"""Sessions of the server: stores, cache, batches."""
