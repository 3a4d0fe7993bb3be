"""A hash of what an image looks like: of images that one hardly tells apart, equal or near ones.

The 8 x 8 lowest frequencies of the cosine transform of the image at 32 x 32, each above the median
or not (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions"). All sums
are of integers, so a hash is the same on every machine.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

SIDE: Final = 32
LOWEST: Final = 8
_STEPS: Final = 256
"""Parts of a grey level that are told apart after the image was brought to 32 x 32."""
_SCALE: Final = 1024
"""Of the cosines, which are rounded to integers."""

Hashes = NDArray[np.uint64]
"""[n]"""


def perceptual_hashes(images: NDArray[np.uint8]) -> Hashes:
    """uint64 [n] of images uint8 [n, H, W, C]; channels are added up."""
    count, height, width, channels = images.shape
    grey = images.sum(axis=3, dtype=np.float64)  # [n, H, W]
    sums = _areas(height) @ grey @ _areas(width).T  # [n, 32, 32], whole numbers below 2**53
    levels = (sums * _STEPS) // (height * width * channels)
    waves = _cosines()
    low = (waves @ levels @ waves.T).reshape(count, LOWEST * LOWEST)  # whole numbers too
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def _areas(size: int) -> NDArray[np.float64]:
    """[32, size]: how much of each pixel lies in each of 32 equal parts, in 32nds of a pixel."""
    edges = np.arange(size) * SIDE
    begins = np.arange(SIDE)[:, None] * size
    ends = np.minimum(begins + size, edges + SIDE)
    shared: NDArray[np.int64] = np.maximum(0, ends - np.maximum(begins, edges))
    return shared.astype(np.float64)


def _cosines() -> NDArray[np.float64]:
    """[8, 32]: the cosine transform (type II, not normalised) of the lowest frequencies."""
    angles = np.outer(np.arange(LOWEST), 2 * np.arange(SIDE) + 1) * (np.pi / (2 * SIDE))
    waves: NDArray[np.float64] = np.rint(_SCALE * np.cos(angles))
    return waves
