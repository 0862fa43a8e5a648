"""Clips as training sees them: crops, windows, augmentation, batches."""
