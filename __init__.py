"""h2onet: occlusion labels, clips, training and evaluation for hands that hold objects (DexYCB, HO3D)."""
