"""Real datasets: read from the formats they come in, checked, and brought to one size. No torch."""
