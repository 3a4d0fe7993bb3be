"""A corpus in seeded batches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.corpus.corpus import Corpus
from models.errors import TrainingError


class Batches:
    """Shuffled batches: a pure function of (seed, step), so a run resumes where it stopped.

    Each epoch is a fresh permutation; its last incomplete batch is dropped. A batch is sorted by
    label, which `MinibatchSpread` uses and nothing else minds.
    """

    def __init__(self, corpus: Corpus, batch_size: int, seed: int) -> None:
        if len(corpus) < batch_size:
            raise TrainingError(f"{len(corpus)} images do not fill one batch of {batch_size}")
        self.corpus = corpus
        self.batch_size = batch_size
        self.seed = seed
        self.per_epoch = len(corpus) // batch_size
        self._epoch = -1
        self._order: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def at(self, step: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Images uint8 [B, H, W, C] and labels int64 [B] of one step."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.corpus))
            self._epoch, self._order = epoch, order
        chosen = self._order[position * self.batch_size : (position + 1) * self.batch_size]
        chosen = chosen[np.argsort(self.corpus.labels[chosen], kind="stable")]
        return self.corpus.images[chosen], self.corpus.labels[chosen]
