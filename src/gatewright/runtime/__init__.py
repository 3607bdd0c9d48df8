"""The runtime without torch: streams of steps, session states, sampling."""
