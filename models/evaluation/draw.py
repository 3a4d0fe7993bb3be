"""Samples of a generator for measuring it, by the same latents as the service draws."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.corpus.corpus import Corpus
from models.errors import OutputShapeError
from models.generator import Generator, sample
from models.latents import normal
from models.spec import ModelSpec

BATCH = 256


def draw_labelled(spec: ModelSpec, generator: Generator, per_class: int, seed: int) -> Corpus:
    """`per_class` samples of each class, classes in turn: sample i has label i mod classes.

    Of an unconditional model, `per_class` samples in all, labelled 0 ("unlabelled").
    """
    count = per_class * len(spec.class_names)
    labels = np.arange(count, dtype=np.int64) % len(spec.class_names)
    parts = [
        sample(generator, z, labels[start : start + len(z)] if spec.conditional else None)
        for start, z in _latents(spec, count, seed)
    ]
    if not all(part.finite.all() for part in parts):
        raise OutputShapeError(f"{spec.ref} gave images that are not finite")
    pixels = np.concatenate([part.pixels for part in parts])  # uint8 [count, H, W, C]
    return Corpus(pixels, labels, spec.class_names)


def _latents(
    spec: ModelSpec, count: int, seed: int
) -> Iterator[tuple[int, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]]:
    """Batches of candidates of shard 0, keyed by the weights: figures in a spec change its hash."""
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        yield start, normal(
            seed=seed, model=spec.weights.sha256, shard=0, first=start, count=size,
            size=spec.latent_size,
        )  # fmt: skip
