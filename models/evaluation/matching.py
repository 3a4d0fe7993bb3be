"""Which images are compared: the subject in the words of the real data, and fair counts of both."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.corpus.corpus import Corpus
from models.errors import DatasetError
from models.spec import UNLABELLED

Places = npt.NDArray[np.int64]


class Subject(NamedTuple):
    """Samples with labels of the real classes.

    labelled: whether they came with labels; else every label is 0 and means nothing.
    """

    corpus: Corpus
    labelled: bool


def in_words_of(real: Corpus, samples: Corpus) -> Subject:
    """Labels of the samples as positions in the classes of the real images, by class name.

    Raises DatasetError for another size of images, or a class that the real images lack.
    """
    if samples.image != real.image:
        raise DatasetError(
            f"the samples are {_size(samples)} and the real images {_size(real)}; read both with "
            "the same preprocessing"
        )
    if samples.classes == (UNLABELLED,) and real.classes != (UNLABELLED,):
        return Subject(_relabelled(samples, np.zeros(len(samples), np.int64), real), False)
    unknown = [name for name in samples.classes if name not in real.classes]
    if unknown:
        raise DatasetError(
            f"the real images have no class {unknown[0]!r}; they have: {', '.join(real.classes)}"
        )
    place = np.array([real.classes.index(name) for name in samples.classes], np.int64)
    return Subject(_relabelled(samples, place[samples.labels], real), True)


def _relabelled(samples: Corpus, labels: Places, real: Corpus) -> Corpus:
    return Corpus(samples.images, labels, real.classes, samples.groups, samples.group)


def _size(corpus: Corpus) -> str:
    image = corpus.image
    return f"{image.height}x{image.width} with {image.channels} channels"


class Match(NamedTuple):
    """Positions of equally many images of either kind, and of each class where there are labels."""

    real: Places
    synthetic: Places


def match(
    real: npt.NDArray[np.int64],
    synthetic: npt.NDArray[np.int64],
    limit: int,
    seed: int,
    by_class: bool = True,
) -> Match:
    """At most `limit` of each, drawn at random: of each class as many of one kind as of the other.

    real, synthetic: labels. Figures of fidelity compare distributions; with other proportions of
    classes they would measure those. And balls about neighbours shrink as points get denser, so
    both sets are of one size.
    """
    draw = np.random.default_rng([seed, len(real), len(synthetic)])
    sides = (real, synthetic)
    if not by_class:
        count = min(len(real), len(synthetic), limit)
        return Match(*(_some(np.arange(len(side)), count, draw) for side in sides))
    labels = np.intersect1d(real, synthetic)
    counts = [min((real == label).sum(), (synthetic == label).sum()) for label in labels]
    scale = min(1.0, limit / max(1, sum(counts)))
    parts = [
        tuple(_some(np.flatnonzero(side == label), int(count * scale), draw) for side in sides)
        for label, count in zip(labels, counts, strict=True)
    ]
    if not parts:
        return Match(np.empty(0, np.int64), np.empty(0, np.int64))
    return Match(*(np.concatenate(side) for side in zip(*parts, strict=True)))


def _some(places: Places, count: int, draw: np.random.Generator) -> Places:
    return np.sort(draw.permutation(places)[:count])


def thinned(labels: npt.NDArray[np.int64], limit: int, seed: int) -> Places:
    """int64: at most `limit` positions in order, drawn at random, classes in their proportions."""
    if len(labels) <= limit:
        return np.arange(len(labels))
    draw = np.random.default_rng([seed, len(labels), limit])
    order = draw.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # class by class, shuffled within
    steps = (np.arange(limit) * len(labels)) // limit
    return np.sort(order[steps])
