"""The validation images of a run: drawn by its seed, evenly over the classes, never learnt from.

Imports no torch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.corpus.corpus import Corpus
from models.errors import TrainingError


class Parts(NamedTuple):
    """What a run learns from, and what it is judged on; None if nothing was kept out."""

    train: Corpus
    validation: Corpus | None


def hold_out(corpus: Corpus, wanted: float, seed: int) -> Parts:
    """Keep a share (below 1) or a number of images out, of each class its part.

    A class keeps at least one image for training, and where it has two, one for validation. The
    validation images come in random order, so that the first of them are a sample of all.
    """
    if not wanted:
        return Parts(corpus, None)
    count = round(wanted * len(corpus)) if wanted < 1 else int(wanted)
    if count >= len(corpus):
        raise TrainingError(f"validation cannot keep {count} of {len(corpus)} images out")
    draw = np.random.default_rng([seed, len(corpus)])
    kept = [
        draw.permutation(np.flatnonzero(corpus.labels == label))[:part]
        for label, part in enumerate(_parts(corpus.counts, count))
    ]
    chosen = draw.permutation(np.concatenate(kept))
    if not len(chosen):
        raise TrainingError(
            f"{len(corpus)} images in {len(corpus.classes)} classes are too few to keep any out; "
            "bring more, or train with --validation 0"
        )
    outside = np.ones(len(corpus), np.bool_)
    outside[chosen] = False
    return Parts(corpus.take(outside), corpus.take(chosen))


def _parts(counts: npt.NDArray[np.int64], wanted: int) -> list[int]:
    """How many of each class: proportional, the largest remainders rounded up."""
    exact = counts * (wanted / counts.sum())
    parts = np.floor(exact).astype(np.int64)
    order = np.argsort(parts - exact, kind="stable")
    parts[order[: wanted - int(parts.sum())]] += 1
    most = np.maximum(counts - 1, 0)
    return [int(part) for part in np.clip(parts, np.minimum(most, 1), most)]
