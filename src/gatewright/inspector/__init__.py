"""The inspector: recordings as a page in a browser or a notebook."""
