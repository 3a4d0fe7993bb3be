"""Which samples are variants of one drawn image: they belong into one split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.jobs.plan import Plan

TYPES = {"variant_of": "int64", "variant": "int64"}
"""Columns of a dataset with variants. An image is named by the index of its first sample."""


class Variants:
    """Image and variant of samples, from the plan alone; quick for samples in order of index."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known = range(0)
        """Indices of the shard that was looked up last."""
        self._firsts: list[int] = []
        self._numbers: list[int] = []

    def of(self, sample: int) -> tuple[int, int]:
        """Index of the first variant of a sample's image, and which one it is itself.

        Raises IndexError where the plan has no such sample.
        """
        if sample not in self._known:
            self._look_up(self._plan.locate(sample)[0])
        at = sample - self._known.start
        return self._firsts[at], self._numbers[at]

    def columns(self, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The same of several, int64 [n] each."""
        pairs = [self.of(sample) for sample in samples.tolist()]
        firsts, numbers = np.array(pairs, np.int64).reshape(-1, 2).T
        return firsts, numbers

    def _look_up(self, number: int) -> None:
        shard = self._plan.shard(number)
        firsts, numbers = shard.variants()
        self._known = range(shard.first, shard.first + shard.size)
        self._firsts, self._numbers = firsts.tolist(), numbers.tolist()
