"""H2ONet: backbone, decoder, fusion, orientation, checkpoints."""
