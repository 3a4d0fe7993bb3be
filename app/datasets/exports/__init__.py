"""Renderings of a stored dataset: what trainers and pipelines read as it is."""
