"""Generators, their specs, checkpoints and training. Knows nothing of the service in `app`."""
