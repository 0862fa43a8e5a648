"""Recipes, losses and the two-stage training loop."""
