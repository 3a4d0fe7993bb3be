"""Intervals and tests of a lift. Two sources of chance: the seeds, and the images of the test.

Rows are seeds, columns test images; `labels` int64 [N] holds the classes of the images. Balanced
accuracy is the mean over classes of the recall, so each class counts alike however many images
it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from models.evaluation.lift_result import Difference, Interval, Mean

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


class Spread(NamedTuple):
    """Squared standard error of a mean, and its degrees of freedom."""

    variance: float
    freedom: float


def recalls(right: npt.NDArray[np.bool_], labels: Labels) -> dict[int, float]:
    """Share of each class that is guessed right, of the classes that are there; right bool [N]."""
    return {int(label): float(right[labels == label].mean()) for label in np.unique(labels)}


def balanced(right: npt.NDArray[np.bool_], labels: Labels) -> float:
    """Mean of the recalls."""
    return float(np.mean(list(recalls(right, labels).values())))


def mean(values: Sequence[float], confidence: float) -> Mean:
    """With Student's interval; without one when there are fewer than two values."""
    centre = float(np.mean(values))
    if len(values) < 2:
        return Mean(value=centre)
    over_seeds = _of_seeds(np.asarray(values))
    return Mean(value=centre, interval=_student(centre, over_seeds, confidence))


def difference(
    ours: npt.NDArray[np.bool_],
    theirs: npt.NDArray[np.bool_],
    labels: Labels,
    reference: str,
    confidence: float,
    resamples: int = 2000,
) -> Difference:
    """Balanced accuracy of `ours` less `theirs`; both bool [seeds, N], row by row of one seed.

    The two sources are taken as independent and their variances added. A share of the variance
    between seeds is noise of single images and so is counted in both: the interval is wide rather
    than narrow.
    """
    gains = ours.astype(np.float64) - theirs  # [seeds, N], -1, 0 or 1
    classes = [gains[:, labels == label] for label in np.unique(labels)]
    by_seed = np.mean([part.mean(axis=1) for part in classes], axis=0)  # [seeds]
    by_image = [part.mean(axis=0) for part in classes]  # of each class [n]
    value = float(by_seed.mean())
    over_seeds = _of_seeds(by_seed)
    both = _together(over_seeds, *_of_images(by_image))
    return Difference(
        reference=reference,
        value=value,
        interval=_student(value, both, confidence),
        over_seeds=_student(value, over_seeds, confidence),
        over_images=_bootstrap(by_image, confidence, resamples),
        p_value=_two_sided(value, both),
        p_value_seeds=_two_sided(value, over_seeds),
    )


def _of_seeds(values: Floats) -> Spread:
    return Spread(float(values.var(ddof=1)) / len(values), len(values) - 1)


def _of_images(by_image: Sequence[Floats]) -> list[Spread]:
    """Of each class, as part of the mean over classes; a class of one image tells no spread."""
    share = 1 / len(by_image) ** 2
    return [
        Spread(share * float(part.var(ddof=1)) / len(part), len(part) - 1)
        for part in by_image
        if len(part) > 1
    ]


def _together(*parts: Spread) -> Spread:
    """Sum of independent parts; degrees of freedom by Satterthwaite (1946)."""
    total = sum(part.variance for part in parts)
    weighed = sum(part.variance**2 / part.freedom for part in parts)
    return Spread(total, total**2 / weighed if weighed else parts[0].freedom)


def _student(centre: float, spread: Spread, confidence: float) -> Interval:
    reach = float(stats.t.ppf((1 + confidence) / 2, spread.freedom)) * spread.variance**0.5
    return Interval(low=centre - reach, high=centre + reach)


def _two_sided(value: float, spread: Spread) -> float:
    if not spread.variance:
        return 0.0 if value else 1.0
    return float(2 * stats.t.sf(abs(value) / spread.variance**0.5, spread.freedom))


def _bootstrap(by_image: Sequence[Floats], confidence: float, resamples: int) -> Interval:
    """Percentiles over resampled test images, as many of each class as there are."""
    samples = [part if len(part) > 1 else part.repeat(2) for part in by_image]
    found = stats.bootstrap(
        samples, _mean_of_means, vectorized=True, n_resamples=resamples, batch=250,
        confidence_level=confidence, method="percentile", rng=np.random.default_rng(0),
    )  # fmt: skip
    low, high = found.confidence_interval
    return Interval(low=float(low), high=float(high))


def _mean_of_means(*samples: Floats, axis: int) -> Floats:
    means: Floats = np.mean([sample.mean(axis=axis) for sample in samples], axis=0)
    return means
