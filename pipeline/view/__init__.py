"""`h2o view`: labels, clips or predictions as a scene in time, written as a file for the viewer Rerun."""
