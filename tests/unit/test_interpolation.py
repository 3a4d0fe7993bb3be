"""Arcs between latents, held to what an arc is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from app.jobs.interpolation import grid, slerp, strip
from models.latents import normal


def latents(count: int, size: int = 64) -> list[np.ndarray]:
    drawn = normal(seed=1, model="ab" * 32, shard=0, first=0, count=count, size=size)
    return list(drawn.astype(np.float64))


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))


def test_an_arc_of_unit_vectors_is_walked_at_one_speed() -> None:
    a, b = (z / np.linalg.norm(z) for z in latents(2))
    points = [slerp(a, b, share) for share in np.linspace(0, 1, 9)]
    assert np.allclose([np.linalg.norm(point) for point in points], 1)
    steps = [angle(p, q) for p, q in pairwise(points)]
    assert np.allclose(steps, angle(a, b) / 8)


def test_the_middle_is_as_long_as_a_normal_and_the_line_is_not() -> None:
    a, b = latents(2, size=512)
    typical = np.linalg.norm(a)
    assert abs(np.linalg.norm(slerp(a, b, 0.5)) - typical) < 0.1 * typical
    assert np.linalg.norm((a + b) / 2) < 0.8 * typical


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0])
def test_without_an_arc_it_is_the_line(factor: float) -> None:
    [a] = latents(1)
    assert np.allclose(slerp(a, factor * a, 0.25), a * (0.75 + 0.25 * factor))


def test_a_strip_holds_its_ends_once() -> None:
    ends = latents(3)
    points = strip(ends, 5)
    assert points.shape == (9, 64)
    assert points.dtype == np.float32
    assert np.allclose(points[[0, 4, 8]], ends, atol=1e-6)


def test_a_grid_has_its_corners_in_the_corners() -> None:
    corners = latents(4)
    points = grid(corners, 3, 5).reshape(3, 5, 64)
    assert np.allclose(points[[0, 0, 2, 2], [0, 4, 0, 4]], corners, atol=1e-6)
    assert np.allclose(points[0], strip(corners[:2], 5), atol=1e-6)
    assert np.allclose(points[:, 0], strip([corners[0], corners[2]], 3), atol=1e-6)
