"""Checks of candidates: what is not as it was asked for is refused, and the next one is drawn."""
