"""The stand-in hand: a licence-free hand in MANO's format."""
