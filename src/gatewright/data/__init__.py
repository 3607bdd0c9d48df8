"""Reads, checks, splits, scales and windows what a model learns from."""
