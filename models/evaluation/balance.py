"""How classes and groups are shared out, before samples are added and after."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.corpus.corpus import Corpus
from models.evaluation.findings import Balance, ShareRow

Counts = npt.NDArray[np.int64]


def balance(train: Corpus, samples: Corpus, added: Counts) -> Balance:
    """Shares of the real training images, and of these with the samples.

    added: int64 [len(train.classes)], samples of each class. Groups are those of the training
    images; samples of an unknown group count as none.
    """
    before = train.counts
    return Balance(
        classes=_rows(train.classes, before, added),
        groups=_groups(train, samples),
        imbalance=(_imbalance(before), _imbalance(before + added)),
    )


def _rows(names: Sequence[str], before: Counts, added: Counts) -> tuple[ShareRow, ...]:
    together = before + added
    return tuple(
        ShareRow(
            name=name,
            real=int(before[place]),
            synthetic=int(added[place]),
            real_share=float(before[place] / max(1, before.sum())),
            together_share=float(together[place] / max(1, together.sum())),
        )
        for place, name in enumerate(names)
    )


def _groups(train: Corpus, synthetic: Corpus) -> tuple[ShareRow, ...]:
    if train.group is None:
        return ()
    before = np.bincount(train.group[train.group >= 0], minlength=len(train.groups))
    added = np.array([in_group(synthetic, name).sum() for name in train.groups], np.int64)
    return _rows(train.groups, before.astype(np.int64), added)


def in_group(corpus: Corpus, name: str) -> npt.NDArray[np.bool_]:
    """bool [N]: which images belong to the group of that name."""
    if corpus.group is None or name not in corpus.groups:
        return np.zeros(len(corpus), np.bool_)
    members: npt.NDArray[np.bool_] = corpus.group == corpus.groups.index(name)
    return members


def _imbalance(counts: Counts) -> float | None:
    return float(counts.max() / counts.min()) if counts.min() > 0 else None
