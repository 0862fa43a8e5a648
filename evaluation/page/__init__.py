"""The report page: plots, cards, tables."""
