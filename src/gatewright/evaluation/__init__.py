"""Evaluation of trained models: metrics on the test part, tables, quantization."""
