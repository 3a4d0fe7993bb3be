"""Figures of fidelity against other packages, closed forms and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from scipy.stats import binomtest
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from models.evaluation.estimate import FIDELITY
from models.evaluation.fidelity import (
    FID_SAMPLES_A_DIMENSION,
    Ruler,
    fidelity,
    frechet_distance,
    kernel_distance,
)
from models.evaluation.intervals import binomial, subsets
from models.evaluation.neighbours import Points, nearest, radii

RULER = Ruler(backbone="points", neighbours=5, seed=0)
BALLS = ("precision", "recall", "density", "coverage")


def normal(seed: int, count: int, size: int = 8, mean: float = 0.0, scale: float = 1.0) -> Points:
    draw = np.random.default_rng(seed)
    return (draw.normal(size=(count, size)) * scale + mean).astype(np.float32)


def values(real: Points, synthetic: Points) -> dict[str, float | None]:
    return {name: figure.value for name, figure in fidelity(real, synthetic, RULER).items()}


PAIRS = {
    "alike": (normal(0, 300), normal(1, 300)),
    "shifted": (normal(0, 300), normal(1, 250, mean=1.0)),
    "narrow": (normal(0, 300), normal(1, 300, scale=0.1)),
    "far": (normal(0, 300), normal(1, 300, mean=50.0)),
    "copies": (normal(0, 300), normal(0, 300)),
    "one point": (normal(0, 300), np.zeros((300, 8), np.float32)),
}
pairs = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())


@pairs
def test_balls_are_those_of_the_reference_package(pair: tuple[Points, Points]) -> None:
    wanted = compute_prdc(*pair, nearest_k=5)
    found = values(*pair)
    assert {name: found[name] for name in BALLS} == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("name", ["alike", "shifted", "narrow", "far"])
def test_precision_and_recall_are_not_swapped(name: str) -> None:
    real, synthetic = PAIRS[name]
    wanted = prc_features_to_metric(  # input 1 is what was generated, since 0.4.0
        torch.from_numpy(synthetic), torch.from_numpy(real),
        prc_neighborhood=5, prc_batch_size=100, save_cpu_ram=False, verbose=False,
    )  # fmt: skip
    found = values(real, synthetic)
    assert found["precision"] == pytest.approx(wanted["precision"], abs=0.011)
    assert found["recall"] == pytest.approx(wanted["recall"], abs=0.011)


def test_a_tight_cluster_is_precise_and_recalls_nothing() -> None:
    found = values(*PAIRS["narrow"])
    assert found["precision"] == 1.0
    assert found["recall"] < 0.05  # type: ignore[operator]


@pairs
def test_fid_is_that_of_another_package(pair: tuple[Points, Points]) -> None:
    statistics = [fid_features_to_statistics(torch.from_numpy(p).double()) for p in pair]
    wanted = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(*pair) == pytest.approx(wanted, abs=1e-6, rel=1e-6)


def test_fid_of_two_normals_is_the_closed_form() -> None:
    """|m|² + Σ (s₁ - s₂)² of independent features."""
    real, synthetic = normal(0, 50_000, 4), normal(1, 50_000, 4, mean=2.0, scale=3.0)
    assert frechet_distance(real, synthetic) == pytest.approx(4 * (4.0 + 4.0), rel=0.02)


@pairs
def test_kid_is_that_of_another_package(pair: tuple[Points, Points]) -> None:
    """Of subsets that hold every point, as the drawing differs; so is the spread: none."""
    count = min(map(len, pair))
    pair = (pair[0][:count], pair[1][:count])
    wanted = kid_features_to_metric(
        *(torch.from_numpy(p).double() for p in pair), kid_subsets=1, kid_subset_size=count,
        kid_degree=3, kid_gamma=None, kid_coef0=1, rng_seed=0, verbose=False,
    )["kernel_inception_distance_mean"]  # fmt: skip
    mean, spread = kernel_distance(*pair, subset=count, seed=0)
    assert mean == pytest.approx(wanted, rel=1e-6, abs=1e-9)
    assert spread == pytest.approx(0, abs=1e-6 * max(1.0, abs(wanted)))


def test_kid_of_equal_distributions_is_nothing_on_average() -> None:
    """It is unbiased: the mean over 30 draws of 60 points is within the error of that mean."""
    found = [kernel_distance(normal(2 * i, 60), normal(2 * i + 1, 60), 30, 0)[0] for i in range(30)]
    assert abs(np.mean(found)) < 3 * np.std(found, ddof=1) / np.sqrt(30)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_intervals_hold_the_mean_of_many_draws(shift: float) -> None:
    """At least 16 of 20: the chance of fewer is below 1 % when 95 % hold it."""
    found = [
        kernel_distance(normal(2 * i, 120), normal(2 * i + 1, 120, mean=shift), 60, 0)
        for i in range(20)
    ]
    mean = np.mean([value for value, _ in found])
    ends = [subsets(value, spread, 60, 120) for value, spread in found]
    assert sum(interval.low <= mean <= interval.high for interval in ends) >= 16


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda real, ours: (real[::-1].copy(), ours[::-1].copy()), id="order"),
        pytest.param(lambda real, ours: (real @ ROTATION, ours @ ROTATION), id="rotation"),
        pytest.param(lambda real, ours: (real * 4, ours * 4), id="scale"),
    ],
)
def test_what_does_not_change_the_balls(change) -> None:  # type: ignore[no-untyped-def]
    real, synthetic = normal(0, 200), normal(1, 200, mean=0.7)
    before, after = values(real, synthetic), values(*change(real, synthetic))
    assert {n: after[n] for n in BALLS} == pytest.approx({n: before[n] for n in BALLS}, abs=0.011)


ROTATION = np.linalg.qr(np.random.default_rng(3).normal(size=(8, 8)))[0].astype(np.float32)


def test_sides_swapped_swap_precision_and_recall() -> None:
    real, synthetic = normal(0, 200), normal(1, 200, scale=0.5)
    forth, back = values(real, synthetic), values(synthetic, real)
    assert (forth["precision"], forth["recall"]) == (back["recall"], back["precision"])
    assert forth["kid"] == pytest.approx(back["kid"], abs=0.05)


def test_every_figure_says_on_what_it_was_measured() -> None:
    found = fidelity(normal(0, 120), normal(1, 100), RULER)
    assert tuple(found) == FIDELITY
    for figure in found.values():
        assert (figure.real, figure.synthetic, figure.backbone) == (120, 100, "points")
        assert figure.interval is not None
        assert figure.value is not None
        assert figure.interval.low <= figure.value <= figure.interval.high


def test_below_its_count_fid_is_absent_with_the_reason_and_kid_stays() -> None:
    count = FID_SAMPLES_A_DIMENSION * 8
    assert fidelity(normal(0, count), normal(1, count), RULER)["fid"].value is not None
    found = fidelity(normal(0, count), normal(1, count - 1), RULER)
    assert found["fid"].value is None
    assert f"{count} images" in (found["fid"].reason or "")
    assert found["kid"].value is not None


def test_of_a_few_images_nothing_is_said() -> None:
    found = fidelity(normal(0, 100), normal(1, 19), RULER)
    assert all(figure.value is None and "19 images" in figure.reason for figure in found.values())  # type: ignore[operator]


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_nearest_neighbours_do_not_depend_on_the_blocks(block: int) -> None:
    queries, references = normal(0, 40), np.concatenate([normal(1, 60), normal(1, 60)])
    found = nearest(queries, references, block)
    distances = np.linalg.norm(queries[:, None] - references[None], axis=2)
    assert found.distances == pytest.approx(distances.min(axis=1), rel=1e-5)
    assert found.positions.tolist() == distances[:, :60].argmin(axis=1).tolist()


def test_radii_leave_the_point_itself_out() -> None:
    line = np.array([[0.0], [1.0], [3.0], [7.0]], np.float32)
    assert radii(line, 1).tolist() == [1.0, 1.0, 2.0, 4.0]
    assert radii(line, 2).tolist() == [3.0, 2.0, 3.0, 6.0]


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (3, 10), (10, 10), (250, 5000)])
def test_binomial_intervals_are_those_of_scipy(hits: int, count: int) -> None:
    wanted = binomtest(hits, count).proportion_ci(0.95, method="exact")
    found = binomial(hits, count)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)
