"""Readers of the raw trees, of HandOccNet's annotation JSON and of tables."""
