"""The hand: model, parts, rotations, camera, mesh hierarchy, z-buffer."""
