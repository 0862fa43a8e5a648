"""HO3D's official protocol on a pred.json."""
