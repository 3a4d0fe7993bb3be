"""Near duplicates: within a shard as it is drawn, across shards once all are there.

What is compared are 64-bit hashes; two are near when at most `distance` of their bits differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from app.checks.perceptual import Hashes

_BLOCK = 1 << 22
"""Pairs that are compared at once: bounds the memory."""


class Seen:
    """The hashes that later ones are held against, in the order in which they came."""

    def __init__(self, distance: int) -> None:
        self._distance = distance
        self._known = np.empty(1024, np.uint64)
        self._count = 0
        self._exact: set[int] = set()

    def has_near(self, value: int) -> bool:
        """Whether one of them is near."""
        if not self._distance or value in self._exact:
            return value in self._exact
        differing = np.bitwise_count(self._known[: self._count] ^ np.uint64(value))
        return bool((differing <= self._distance).any())

    def add(self, value: int) -> None:
        """Hold later ones against it too."""
        if self._count == len(self._known):
            self._known = np.concatenate([self._known, np.empty_like(self._known)])
        self._known[self._count] = value
        self._exact.add(value)
        self._count += 1


def repeated(shards: Sequence[Hashes], distance: int) -> dict[int, NDArray[np.int64]]:
    """Shard → positions whose hash is near to an earlier one, of an earlier shard, that stays.

    The hashes of one shard are not near to each other. The order is that of the samples, so it
    does not matter when or where the shards were drawn.
    """
    found = _equal(shards) if not distance else _near(shards, distance)
    return {shard: positions for shard, positions in found if len(positions)}


def _equal(shards: Sequence[Hashes]) -> Iterable[tuple[int, NDArray[np.int64]]]:
    every = np.concatenate(shards)
    _, firsts = np.unique(every, return_index=True)
    again = np.ones(len(every), np.bool_)
    again[firsts] = False
    ends = np.cumsum([len(hashes) for hashes in shards])[:-1]
    for shard, flags in enumerate(np.split(again, ends)):
        yield shard, np.flatnonzero(flags)


def _near(shards: Sequence[Hashes], distance: int) -> Iterable[tuple[int, NDArray[np.int64]]]:
    known = np.empty(sum(map(len, shards)), np.uint64)
    count = 0
    for shard, hashes in enumerate(shards):
        near = _any_near(hashes, known[:count], distance)
        kept = hashes[~near]
        known[count : count + len(kept)] = kept
        count += len(kept)
        yield shard, np.flatnonzero(near)


def _any_near(hashes: Hashes, known: Hashes, distance: int) -> NDArray[np.bool_]:
    """bool [n]: whether any of `known` is near to each."""
    near = np.zeros(len(hashes), np.bool_)
    step = max(1, _BLOCK // max(1, len(hashes)))
    for start in range(0, len(known), step):
        block = known[start : start + step]
        near |= (np.bitwise_count(hashes[:, None] ^ block) <= distance).any(axis=1)
    return near
