"""The images of an evaluation, and what each may be used for.

    learnt      training images that the classifier learns from
    spared      training images that it does not see
    reference   real images that samples are compared with: the test images
    held_out    real images that are compared in the samples' place: the spared ones

Test images are learnt by nothing. Without any, the spared training images are the reference (the
generator may have seen them), and learnt ones stand in for held-out ones.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.corpus.corpus import Corpus
from models.errors import DatasetError
from models.evaluation.matching import Subject, in_words_of

FOLDS: Final = 5
"""One in so many training images, class by class, is spared."""


class Sides(NamedTuple):
    """See the module. unseen: whether the generator never saw the reference."""

    subject: Subject
    train: Corpus
    learnt: Corpus
    spared: Corpus
    reference: Corpus
    held_out: Corpus
    unseen: bool


def take_sides(subject: Corpus, train: Corpus, test: Corpus | None, seed: int) -> Sides:
    """Check that the sets fit together, and divide the training images.

    Raises DatasetError when sizes or classes do not fit, or no class has five images.
    """
    samples = in_words_of(train, subject)
    spared = _spared(train, seed)
    if not spared.any():
        raise DatasetError(
            f"no class of the real training images has {FOLDS} images; they are too few to judge by"
        )
    learnt, kept = train.take(~spared), train.take(spared)
    if test is None:
        return Sides(samples, train, learnt, kept, kept, learnt, unseen=False)
    unseen = in_words_of(train, test).corpus
    return Sides(samples, train, learnt, kept, unseen, kept, unseen=True)


def _spared(train: Corpus, seed: int) -> npt.NDArray[np.bool_]:
    """bool [N]: a fifth of each class; of a class with fewer than five images, none."""
    spared = np.zeros(len(train), np.bool_)
    for label in np.flatnonzero(train.counts):
        places = np.flatnonzero(train.labels == label)
        order = np.random.default_rng([seed, int(label)]).permutation(places)
        spared[order[: len(places) // FOLDS]] = True
    return spared
