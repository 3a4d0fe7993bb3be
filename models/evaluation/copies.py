"""Copies: do samples come nearer to training images than unseen real images do?

Two questions. How near is a sample to a training image, held against how near holdout images come
(the distance to the closest record)? And is it nearer to a training image than to a holdout
image, more often than chance (after Yale et al. 2020, adversarial accuracy of nearest
neighbours)? Blurred or plain samples are near to everything: only copies are near to the training
images alone.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.corpus.corpus import Corpus
from models.evaluation.intervals import binomial
from models.evaluation.neighbours import Floats, Nearest, nearest
from models.evaluation.results import Copies, Figure, Pair

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

    others: training images that are not in the holdout. by_class: whether the
    samples' labels say of which classes the holdout's distances matter.
    """
    near = nearest(samples.points.astype(np.float32), train.points)
    reference = nearest(holdout.points.astype(np.float32), others.points)
    weights = _weights(samples.corpus, holdout.corpus, by_class)
    threshold = float(weighted_quantiles(reference.distances, weights, (PERCENTILE,))[0])
    close = near.distances <= threshold
    expected = _expected(samples.corpus, train.corpus, holdout.corpus, by_class)
    return Copies(
        space=space.name,
        threshold=threshold,
        share=Figure(
            value=float(close.mean()),
            interval=binomial(int(close.sum()), len(close)),
            synthetic=len(close),
            real=len(reference.distances),
            backbone=space.name,
            better="lower",
        ),
        nearer_training=_nearer(samples, holdout, near, space),
        nearer_training_expected=expected if space.unseen else None,
        identical=_identical(samples.corpus, train.corpus),
        holdout=space.holdout,
        quantiles={
            "samples": _five(near.distances, np.ones(len(close))),
            "holdout": _five(reference.distances, weights),
        },
        worst=_worst(samples.corpus, train.corpus, near),
    )


def _weights(samples: Corpus, holdout: Corpus, by_class: bool) -> Floats:
    """float64 of each holdout image, so that its classes weigh as much as among the samples.

    Images of some classes lie closer together than those of others.
    """
    if not by_class:
        return np.ones(len(holdout))
    there = holdout.counts
    wanted = samples.counts * (there > 0)
    if not wanted.any():
        return np.ones(len(holdout))
    of_class = wanted / np.maximum(there, 1)
    weights: Floats = of_class[holdout.labels].astype(np.float64)
    return weights


def weighted_quantiles(values: Floats, weights: Floats, at: tuple[float, ...]) -> Floats:
    """The lowest values below or at which lies the share `at` of the weight."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order]) / weights.sum()
    places = np.searchsorted(below, np.array(at) - 1e-12)
    return values[order][np.minimum(places, len(values) - 1)]


def _five(values: Floats, weights: Floats) -> tuple[float, float, float, float, float]:
    first, second, third, fourth, fifth = weighted_quantiles(values, weights, QUANTILES).tolist()
    return first, second, third, fourth, fifth


def _nearer(samples: Side, holdout: Side, near: Nearest, space: Space) -> Figure:
    """The share nearer to training images; of equal distances, half of them."""
    if not space.unseen:
        return Figure(
            value=None,
            synthetic=len(near.distances),
            backbone=space.name,
            better="neither",
            reason="no real images were given that the generator never saw",
        )
    other = nearest(samples.points.astype(np.float32), holdout.points)
    nearer = near.distances < other.distances
    ties = near.distances == other.distances
    hits = int(nearer.sum() + ties.sum() // 2)
    return Figure(
        value=hits / len(nearer),
        interval=binomial(hits, len(nearer)),
        synthetic=len(nearer),
        real=len(holdout.corpus),
        backbone=space.name,
        better="neither",
    )


def _expected(samples: Corpus, train: Corpus, holdout: Corpus, by_class: bool) -> float:
    """Of honest samples: any real image of the class is as likely the nearest one."""
    if not by_class:
        return len(train) / (len(train) + len(holdout))
    both = train.counts + holdout.counts
    share = train.counts / np.maximum(both, 1)
    return float((share * samples.counts).sum() / len(samples))


def _identical(samples: Corpus, train: Corpus) -> int:
    known = {image.tobytes() for image in train.images}
    return sum(image.tobytes() in known for image in samples.images)


def _worst(samples: Corpus, train: Corpus, near: Nearest) -> tuple[Pair, ...]:
    order = np.argsort(near.distances, kind="stable")[:WORST]
    return tuple(
        Pair(
            sample=int(place),
            training=int(near.positions[place]),
            distance=float(near.distances[place]),
            sample_class=samples.classes[samples.labels[place]],
            training_class=train.classes[train.labels[near.positions[place]]],
        )
        for place in order
    )
