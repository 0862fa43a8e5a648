"""Checkpoint files: this project's own folders and the authors' .pth files."""
