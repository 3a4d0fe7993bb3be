"""Truncated latents against scipy's truncated normal, and against drawing again in a loop."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy import special, stats

from models.latents import normal
from models.truncation import LARGEST, Truncation, central_mass

THRESHOLDS = [0.01, 0.5, 0.8, 2.0, LARGEST]


def standard(count: int, size: int = 100, first: int = 0) -> np.ndarray:
    return normal(seed=3, model="ab" * 32, shard=1, first=first, count=count, size=size)


def test_the_mass_between_two_thresholds_is_that_of_a_normal() -> None:
    z = np.linspace(0, 9, 5_001)
    assert np.abs(central_mass(z) - special.erf(z / np.sqrt(2))).max() < 1e-13


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_the_function_is_the_quantile_of_the_truncated_normal(threshold: float) -> None:
    z = np.linspace(-8.6, 8.6, 20_001)
    exact = stats.truncnorm.ppf(special.ndtr(-np.abs(z)), -threshold, threshold)
    found = Truncation(threshold)(z.astype(np.float32)[:, None])[:, 0]
    assert np.abs(found - np.copysign(exact, z)).max() < 5e-7 * max(threshold, 1)
    assert (np.diff(found) >= 0).all()
    assert np.abs(found).max() <= np.float32(threshold)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_latents_are_distributed_as_if_drawn_again(threshold: float) -> None:
    drawn = Truncation(threshold)(standard(1_000)).ravel()
    exact = stats.truncnorm(-threshold, threshold)
    assert stats.kstest(drawn, exact.cdf).pvalue > 0.01
    assert abs(drawn.mean()) < 4 * exact.std() / np.sqrt(len(drawn))
    if threshold >= 0.5:  # a loop needs a while below
        loop = np.random.default_rng(5).standard_normal(100_000)
        while (outside := np.abs(loop) > threshold).any():
            loop[outside] = np.random.default_rng(outside.sum()).standard_normal(outside.sum())
        assert stats.ks_2samp(drawn, loop).pvalue > 0.01


def test_entries_stay_independent() -> None:
    drawn = Truncation(0.8)(standard(4_000, size=8))
    correlations = np.corrcoef(drawn, rowvar=False)[~np.eye(8, dtype=bool)]
    assert np.abs(correlations).max() < 4 / np.sqrt(4_000)


def test_a_candidate_is_the_same_alone() -> None:
    truncate = Truncation(0.8)
    together = truncate(standard(400, size=77))
    assert np.array_equal(truncate(standard(1, size=77, first=123))[0], together[123])
    assert together.dtype == np.float32
    assert together.shape == (400, 77)


def test_a_large_threshold_leaves_latents_as_they_are() -> None:
    z = standard(100)
    assert np.abs(Truncation(LARGEST)(z) - z).max() < 0.1
    assert np.corrcoef(Truncation(0.5)(z).ravel(), z.ravel())[0, 1] > 0.9


def test_known_answers_on_every_machine() -> None:
    drawn = Truncation(0.8)(standard(50))
    digest = hashlib.sha256(drawn.astype("<f4").tobytes()).hexdigest()
    assert digest == "b355b521639b4256debc54d805dc78dc7db68843903a04df704f7284b2b69781"


def test_nothing_is_drawn() -> None:
    assert Truncation(1.0)(standard(0)).shape == (0, 100)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 5.1, float("nan")])
def test_thresholds_out_of_range_are_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        Truncation(threshold)
