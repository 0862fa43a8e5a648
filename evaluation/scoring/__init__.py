"""Per-frame scores and what is summed up from them."""
