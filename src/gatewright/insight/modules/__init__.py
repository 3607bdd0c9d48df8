"""Recordings of a caller's own module: every LSTM in it, by name."""
