"""Behind the detector: model files, networks, palms, regions, and hands followed from frame to frame."""
