"""Motion of the synthetic hand: grasps, gestures, replayed recordings."""
