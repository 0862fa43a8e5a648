"""Zarr stores of camera sequences, in a folder or on an object store."""
