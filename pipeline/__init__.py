"""Dask pipelines: frames to labels.zarr, labels and photos to clips.zarr."""
