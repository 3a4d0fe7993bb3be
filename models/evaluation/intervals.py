"""Intervals of means and shares, at 95 percent."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.evaluation.estimate import Interval

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 1000


def binomial(hits: int, count: int) -> Interval:
    """Of a share: Clopper & Pearson 1934, which covers at least what it says at every count."""
    from scipy.stats import beta

    tail = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, hits, count - hits + 1)) if hits else 0.0
    high = float(beta.isf(tail, hits + 1, count - hits)) if hits < count else 1.0
    return Interval(low=low, high=high, method="binomial")


def bootstrap(values: npt.NDArray[np.float64], seed: int) -> Interval:
    """Of the mean of `values` [N]: percentiles of the means of resampled values."""
    from scipy.stats import bootstrap as resample

    if np.ptp(values) == 0:  # nothing to resample: scipy would warn of a degenerate distribution
        return Interval(low=float(values[0]), high=float(values[0]), method="bootstrap")
    ends = resample(
        (values,), np.mean, confidence_level=CONFIDENCE, n_resamples=RESAMPLES,
        method="percentile", batch=100, rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Interval(low=float(ends.low), high=float(ends.high), method="bootstrap")


def subsets(value: float, spread: float, subset: int, count: int) -> Interval:
    """Of a figure whose values on random subsets, drawn without repetition, spread by `spread`.

    Subsampling (Politis, Romano & Wolf 1999): a subset of m of n samples varies sqrt((n - m) / m)
    times as much as the whole, at the usual rate of one over the root of n.
    """
    from scipy.stats import norm

    scale = np.sqrt(subset / (count - subset))
    half = float(norm.ppf(0.5 + CONFIDENCE / 2) * spread * scale)
    return Interval(low=value - half, high=value + half, method="subsets")
