"""Networks described by a list of layers: data in, a generator out, never code."""
