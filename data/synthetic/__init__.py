"""Synthetic datasets: plans and writers of each layout."""
