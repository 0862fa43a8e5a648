"""Clips in the formats of other people's tools; the door is `pipeline/export_clips.py`."""
