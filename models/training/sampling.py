"""Which images a step sees: a pure function of (seed, step), so that a run resumes exactly.

Imports no torch.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from models.corpus.corpus import Corpus
from models.errors import TrainingError

Sampling = Literal["shuffled", "balanced"]


class Batches:
    """Batches of seeded epochs. A batch is sorted by label, which `MinibatchSpread` uses.

    shuffled: an epoch is a fresh permutation, its last incomplete batch dropped. balanced: an
    epoch has as many draws, with replacement, and every class is as likely as any other.
    """

    def __init__(
        self, corpus: Corpus, batch_size: int, seed: int, sampling: Sampling = "shuffled"
    ) -> None:
        if len(corpus) < batch_size:
            raise TrainingError(f"{len(corpus)} images do not fill one batch of {batch_size}")
        self.corpus = corpus
        self.batch_size = batch_size
        self.seed = seed
        self.per_epoch = len(corpus) // batch_size
        self._shares = class_shares(corpus.labels) if sampling == "balanced" else None
        self._epoch = -1
        self._order: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def at(self, step: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Images uint8 [B, H, W, C] and labels int64 [B] of one step."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._drawn(epoch)
        chosen = self._order[position * self.batch_size : (position + 1) * self.batch_size]
        chosen = chosen[np.argsort(self.corpus.labels[chosen], kind="stable")]
        return self.corpus.images[chosen], self.corpus.labels[chosen]

    def _drawn(self, epoch: int) -> npt.NDArray[np.int64]:
        stream, count = np.random.default_rng([self.seed, epoch]), len(self.corpus)
        if self._shares is None:
            return stream.permutation(count)
        return stream.choice(count, count, replace=True, p=self._shares)


def class_shares(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Probability of each image, float64 [N] of sum 1, that makes all classes equally likely.

    Classes of which there is no image take no part.
    """
    counts = np.bincount(labels)
    return 1 / (counts[labels] * np.count_nonzero(counts))
