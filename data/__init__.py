"""Readers, synthetic datasets, the label and clip stores, loading."""
