"""Published results, measured again with this package: `gatewright reproduce`."""
