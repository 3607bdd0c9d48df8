"""A model as WebAssembly: a module, its interface in JavaScript, and a page that runs it."""
