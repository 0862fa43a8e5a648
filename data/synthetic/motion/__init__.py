"""What a synthetic hand does: grasps, gestures, replayed recordings."""
