"""Devices, resident models and batched inference: the only importer of torch in `app`."""
