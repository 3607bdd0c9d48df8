"""Sessions that outlive the process that serves them."""
