"""`h2o labels`: looks into a finished labels.zarr, checks, compares, exports and draws it."""
