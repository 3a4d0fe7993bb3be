"""Nearest neighbours and balls of points, block by block: memory does not grow with both sets.

The distances are scikit-learn's: float32 points, sums in float64.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

BLOCK: Final = 8192
"""Reference points that are compared at once."""


class Nearest(NamedTuple):
    """distances float64 [N] and positions int64 [N] of the nearest reference points."""

    distances: Floats
    positions: npt.NDArray[np.int64]


def nearest(queries: Points, references: npt.NDArray[np.generic], block: int = BLOCK) -> Nearest:
    """The reference point [M, D] nearest to each query [N, D], by Euclidean distance.

    Of equally near ones, the first. The references may be uint8: a block at a time becomes float.
    """
    from sklearn.metrics import pairwise_distances_argmin_min

    count = len(queries)
    found = Nearest(np.full(count, np.inf), np.zeros(count, np.int64))
    for start in range(0, len(references), block):
        part = references[start : start + block].astype(np.float32)
        positions, distances = pairwise_distances_argmin_min(queries, part)
        closer = distances < found.distances
        found.distances[closer] = distances[closer]
        found.positions[closer] = positions[closer] + start
    return found


def radii(points: Points, k: int) -> Floats:
    """float64 [N]: distance of each point [N, D] to its k-th nearest other point."""
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points)
    distances, _ = index.kneighbors()  # without an argument, a point is no neighbour of itself
    found: Floats = distances[:, -1].astype(np.float64)
    return found


class Inside(NamedTuple):
    """balls int64 [N]: in how many each point lies; nearest float64 [N]: nearest centre."""

    balls: npt.NDArray[np.int64]
    nearest: Floats


def inside(points: Points, centres: Points, ball_radii: Floats) -> Inside:
    """For each point [N, D]: the balls about the centres [M, D] that hold it, edges excluded."""
    from sklearn.metrics import pairwise_distances_chunked

    def reduced(distances: Floats, _: int) -> tuple[npt.NDArray[np.int64], Floats]:
        return (distances < ball_radii).sum(axis=1), distances.min(axis=1)

    parts = list(pairwise_distances_chunked(points, centres, reduce_func=reduced))
    counts, lowest = zip(*parts, strict=True)
    return Inside(np.concatenate(counts), np.concatenate(lowest).astype(np.float64))
