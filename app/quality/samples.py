"""Figures of samples alone, without real images: do they differ, are they what they are called?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.evaluation.estimate import Figure, Interval
from models.verdicts import Verdicts

NEAR_LEVELS = 4.0
"""Root mean square difference, in levels of 0 … 255, below which two images are near duplicates:
what one hardly sees."""
CONFIDENCE = 0.95
_MOST_PRODUCTS = 2e9
"""Multiplications that the comparison of all pairs may take: a fraction of a second."""


def near_duplicates(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Figure:
    """Share of the samples that have a near duplicate of their class among those compared.

    pixels: uint8 [n, H, W, C]; labels: int64 [n]. Of large images fewer are compared.
    """
    values = pixels.reshape(len(pixels), -1)
    most = max(2, int((_MOST_PRODUCTS / values.shape[1]) ** 0.5))
    values, labels = values[:most].astype(np.float32), labels[:most]
    hits = sum(_with_neighbour(values[labels == label]) for label in np.unique(labels))
    return Figure(
        value=hits / len(values),
        interval=binomial(hits, len(values)),
        synthetic=len(values),
        backbone="pixels",
        better="lower",
    )


def _with_neighbour(values: NDArray[np.float32]) -> int:
    """Rows of [n, d] that another one is nearer to than `NEAR_LEVELS`."""
    squares = (values**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * values @ values.T  # [n, n]
    np.fill_diagonal(distances, np.inf)
    near = distances / values.shape[1] < NEAR_LEVELS**2
    return int(near.any(axis=1).sum())


def agreement(
    verdicts: Verdicts, meant: NDArray[np.int64], classes: Sequence[str], classifier: str
) -> dict[str, Figure]:
    """Label agreement, overall and by class, as figures by name.

    meant: int64 [n], the labels of the samples as positions in `classes`, which are those of the
    classifier.
    """
    right = verdicts.labels == meant
    found = {"label_agreement": _hits(right, classifier)}
    for label in np.unique(meant).tolist():
        found[f"label_agreement/{classes[label]}"] = _hits(right[meant == label], classifier)
    return found


def _hits(right: NDArray[np.bool_], classifier: str) -> Figure:
    hits, count = int(right.sum()), len(right)
    return Figure(
        value=hits / count, interval=binomial(hits, count), synthetic=count, backbone=classifier
    )


def refused(count: int, candidates: int) -> Figure:
    """Share of the candidates that were not used; a plain count, not an estimate."""
    return Figure(value=count / candidates, synthetic=candidates, better="lower")


def binomial(hits: int, count: int) -> Interval:
    """Of a share: Clopper & Pearson 1934, from quantiles of the beta distribution."""
    from scipy.special import betaincinv  # a tenth of what scipy.stats takes to load

    tail = (1 - CONFIDENCE) / 2
    low = betaincinv(hits, count - hits + 1, tail) if hits else 0.0
    high = betaincinv(hits + 1, count - hits, 1 - tail) if hits < count else 1.0
    return Interval(low=float(low), high=float(high), confidence=CONFIDENCE, method="binomial")
