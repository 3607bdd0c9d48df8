"""Taggers: one label for each step of a sequence."""
