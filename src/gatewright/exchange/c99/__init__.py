"""A model as C99 source that needs nothing else: for microcontrollers, and for WebAssembly."""
