"""Choosing a recipe: studies on Optuna."""
