"""Brightness and contrast of images, 0 … 1. Sums are of integers, so no rounding decides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.checks.planned import Range

_WHITE = 255


def brightness(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """float64 [n]: mean of the pixels and channels of each image, uint8 [n, H, W, C]."""
    values = images.reshape(len(images), -1)
    mean: NDArray[np.float64] = values.sum(axis=1, dtype=np.int64) / (values.shape[1] * _WHITE)
    return mean


def contrast(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """float64 [n]: their standard deviation (of all values, not of a sample of them)."""
    values = images.reshape(len(images), -1)
    count = values.shape[1]
    sums = values.sum(axis=1, dtype=np.int64)
    wide = values.astype(np.int64)
    squares = np.einsum("ij,ij->i", wide, wide)
    # count² · variance, exact below 2**63: images of up to 11 million values.
    spread: NDArray[np.float64] = np.sqrt(count * squares - sums * sums) / (count * _WHITE)
    return spread


def outside(values: NDArray[np.float64], allowed: Range) -> NDArray[np.bool_]:
    """bool [n]: below or above what is let through."""
    return (values < allowed.least) | (values > allowed.most)
