"""Wheels: built for several platforms, with a bill of materials, and checked."""
