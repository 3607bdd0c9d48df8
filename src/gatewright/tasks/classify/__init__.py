"""Classifiers: one label for each sequence."""
