"""Copies: do samples come nearer to training images than unseen real images do?

Two questions. How near is a sample to a training image, held against how near holdout images come
(the distance to the closest record)? And are the real images nearest to samples training images
more often than chance (after the adversarial accuracy of nearest neighbours, Yale et al. 2020)?
Blurred or plain samples are near to everything: only copies are near to training images alone.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.corpus.corpus import Corpus
from models.evaluation.estimate import Figure
from models.evaluation.findings import Copies, Pair
from models.evaluation.intervals import binomial
from models.evaluation.nearness import (
    Floats,
    class_weights,
    usual_distances,
    weighted_quantiles,
)
from models.evaluation.neighbours import Nearest, nearest

PERCENTILE: Final = 0.01
QUANTILES: Final = (0.01, 0.1, 0.5, 0.9, 0.99)
WORST: Final = 16


class Side(NamedTuple):
    """A corpus, and its images as points [N, D] float32, or uint8 for the training images."""

    corpus: Corpus
    points: npt.NDArray[np.generic]


class Space(NamedTuple):
    """Where distances are taken, and whether the generator has never seen the holdout."""

    name: str
    holdout: str
    unseen: bool


def copies(
    samples: Side, train: Side, others: Side, holdout: Side, space: Space, by_class: bool
) -> Copies:
    """Distances of samples to training images, against those of the holdout.

    They are relative: 1 is the usual distance of a holdout image to the training images of the
    class that its nearest one has.

    others: training images that are not in the holdout. by_class: whether the
    samples' labels say of which classes the holdout's distances matter.
    """
    near = nearest(samples.points.astype(np.float32), train.points)
    reference = nearest(holdout.points.astype(np.float32), others.points)
    of_others = others.corpus.labels[reference.positions]
    usual = usual_distances(reference.distances, of_others, len(others.corpus.classes))
    ours = near.distances / usual[train.corpus.labels[near.positions]]
    theirs = reference.distances / usual[of_others]
    wanted = samples.corpus.counts if by_class else np.zeros_like(samples.corpus.counts)
    weights = class_weights(holdout.corpus.labels, wanted)
    threshold = float(weighted_quantiles(theirs, weights, (PERCENTILE,))[0])
    close = ours <= threshold
    nearer, expected = _nearer(samples, train, holdout, near, space)
    return Copies(
        space=space.name,
        threshold=threshold,
        share=Figure(
            value=float(close.mean()),
            interval=binomial(int(close.sum()), len(close)),
            synthetic=len(close),
            real=len(theirs),
            backbone=space.name,
            better="lower",
        ),
        nearer_training=nearer,
        nearer_training_expected=expected,
        identical=_identical(samples.corpus, train.corpus),
        holdout=space.holdout,
        quantiles={
            "samples": _five(ours, np.ones(len(close))),
            "holdout": _five(theirs, weights),
        },
        worst=_worst(samples.corpus, train.corpus, near, ours),
    )


def _five(values: Floats, weights: Floats) -> tuple[float, float, float, float, float]:
    first, second, third, fourth, fifth = weighted_quantiles(values, weights, QUANTILES).tolist()
    return first, second, third, fourth, fifth


def _nearer(
    samples: Side, train: Side, holdout: Side, near: Nearest, space: Space
) -> tuple[Figure, float | None]:
    """The training images among the real images that are nearest to a sample, and how many honest
    samples would have.

    An image counts once, however many samples it is nearest to: plain samples may all be nearest
    to the plainest real image. Where an image of either kind is equally near, neither counts.
    """
    if not space.unseen:
        reason = "no real images were given that the generator never saw"
        return _nearer_figure(space, samples, holdout, reason=reason), None
    other = nearest(samples.points.astype(np.float32), holdout.points)
    ours = np.unique(near.positions[near.distances < other.distances])
    theirs = np.unique(other.positions[other.distances < near.distances])
    count = len(ours) + len(theirs)
    if not count:
        reason = "every sample is equally near to training and holdout images"
        return _nearer_figure(space, samples, holdout, reason=reason), None
    labels = np.concatenate([train.corpus.labels[ours], holdout.corpus.labels[theirs]])
    of_train, of_holdout = train.corpus.counts[labels], holdout.corpus.counts[labels]
    expected = float((of_train / (of_train + of_holdout)).mean())
    return _nearer_figure(space, samples, holdout, len(ours), count), expected


def _nearer_figure(
    space: Space, samples: Side, holdout: Side, hits: int = 0, count: int = 0,
    reason: str | None = None,
) -> Figure:  # fmt: skip
    return Figure(
        value=None if reason else hits / count,
        interval=None if reason else binomial(hits, count),
        synthetic=len(samples.corpus),
        real=count or len(holdout.corpus),
        backbone=space.name,
        better="neither",
        reason=reason,
    )


def _identical(samples: Corpus, train: Corpus) -> int:
    known = {image.tobytes() for image in train.images}
    return sum(image.tobytes() in known for image in samples.images)


def _worst(samples: Corpus, train: Corpus, near: Nearest, relative: Floats) -> tuple[Pair, ...]:
    order = np.argsort(relative, kind="stable")[:WORST]
    return tuple(
        Pair(
            sample=int(place),
            training=int(near.positions[place]),
            distance=float(relative[place]),
            sample_class=samples.classes[samples.labels[place]],
            training_class=train.classes[train.labels[near.positions[place]]],
        )
        for place in order
    )
