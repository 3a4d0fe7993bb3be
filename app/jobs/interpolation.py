"""Between two latents, on the sphere that normal latents lie near. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Latent = NDArray[np.float64]
PARALLEL = 1e-6
"""Radians below which two latents count as pointing the same way, or opposite ones."""


def slerp(a: Latent, b: Latent, share: float) -> Latent:
    """Spherical interpolation, `a` at 0 and `b` at 1: float64 [size].

    Normals of many dimensions have nearly the same length, and a straight line between two passes
    much nearer to zero, where a generator was never trained (White 2016, "Sampling generative
    networks", 2.1). Where there is no arc, as between equal latents, it is the straight line.
    """
    cosine = np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))
    angle = float(np.arccos(np.clip(cosine, -1.0, 1.0)))
    if min(angle, np.pi - angle) < PARALLEL:
        return (1 - share) * a + share * b
    mixed: Latent = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)
    return mixed


def strip(ends: Sequence[Latent], steps: int) -> NDArray[np.float32]:
    """From each end to the next in `steps` images, both ends among them: float32 [n, size].

    An end where two ways meet is there once: n = (ends - 1) (steps - 1) + 1.
    """
    shares = np.linspace(0, 1, steps)
    points = [ends[0]]
    for a, b in pairwise(ends):
        points += [slerp(a, b, float(share)) for share in shares[1:]]
    return np.stack(points).astype(np.float32)


def grid(corners: Sequence[Latent], rows: int, columns: int) -> NDArray[np.float32]:
    """Between four corners, row by row from the upper left: float32 [rows * columns, size]."""
    upper_left, upper_right, lower_left, lower_right = corners
    points = []
    for down in np.linspace(0, 1, rows):
        left = slerp(upper_left, lower_left, float(down))
        right = slerp(upper_right, lower_right, float(down))
        points += [slerp(left, right, float(along)) for along in np.linspace(0, 1, columns)]
    return np.stack(points).astype(np.float32)
