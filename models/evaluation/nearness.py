"""How near to a training image is too near: what unseen real images say of it.

Distances are relative: 1 is the usual distance of a real image of the class, as images of some
classes lie closer together than those of others.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

FEW: Final = 10
"""Real images of a class from which its usual distance is its own."""
TINY: Final = 1e-6


class Nearness(NamedTuple):
    """A relative distance, and the distance of each class that it is relative to."""

    threshold: float
    usual: Floats


def nearness(distances: Floats, labels: Labels, wanted: Labels, share: float) -> Nearness:
    """The distance at or below which that share of real images come, as a quantile.

    distances, labels: [N] of real images to their nearest training image, and their classes.
    wanted: int64 [classes]: samples of each class; real images of a class weigh as much.
    """
    usual = usual_distances(distances, labels, len(wanted))
    relative = distances / usual[labels]
    [threshold] = weighted_quantiles(relative, class_weights(labels, wanted), (share,)).tolist()
    return Nearness(threshold, usual)


def usual_distances(distances: Floats, labels: Labels, classes: int) -> Floats:
    """float64 [classes]: the median distance of the real images of each class.

    Of a class with fewer than FEW of them, the median of all.
    """
    usual = np.full(classes, np.median(distances))
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if count >= FEW:
            usual[label] = np.median(distances[labels == label])
    return np.maximum(usual, TINY)


def class_weights(labels: Labels, wanted: Labels) -> Floats:
    """float64 of each real image, so that its classes weigh as much as among the samples.

    All the same where no class has both.
    """
    there = np.bincount(labels, minlength=len(wanted))
    shared = wanted * (there > 0)
    if not shared.any():
        return np.ones(len(labels))
    weights: Floats = (shared / np.maximum(there, 1))[labels].astype(np.float64)
    return weights


def weighted_quantiles(values: Floats, weights: Floats, at: tuple[float, ...]) -> Floats:
    """The lowest values below or at which lies the share `at` of the weight."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order]) / weights.sum()
    places = np.searchsorted(below, np.array(at) - 1e-12)
    return values[order][np.minimum(places, len(values) - 1)]
