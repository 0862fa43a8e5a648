"""h2onet: occlusion labels, clips, training and evaluation for hands that hold objects (DexYCB, HO3D)."""

__version__ = "0.1.0"
