"""Manifest, images, archives: what a dataset is made of."""
