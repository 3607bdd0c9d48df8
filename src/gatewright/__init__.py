"""The LSTM you can see through, at full speed: train it, look inside it, stream it."""
