"""The inspector: a recording as a page in a browser or a notebook."""
