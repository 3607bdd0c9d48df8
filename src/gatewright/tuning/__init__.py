"""Choosing options: studies on Optuna, and recipes within a budget."""
