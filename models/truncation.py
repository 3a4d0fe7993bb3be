"""The truncated normal: latents whose entries are resampled until |z| <= threshold.

Brock et al. 2019 ("Large scale GAN training for high fidelity natural image synthesis", 3.1) draw
an entry again as long as it lies outside. What comes out has the normal distribution between the
thresholds, and one increasing function turns a standard normal into it:

    g(z) = F⁻¹(F(t) F(z)),  F(z) = P(|x| <= z) of a standard normal x, and g(-z) = -g(z).

So no entry takes more numbers of its stream than any other, every candidate can be drawn alone,
and one seed stays one picture: a smaller threshold moves it, a large one leaves it as it is.

F and its inverse are worked out at the nodes of a table, cubic Hermite interpolation does the
rest: g' = F(t) exp((g² - z²) / 2) is known exactly. Only additions, multiplications and divisions
are used, which IEEE 754 fixes, so truncated latents too are equal on every machine. numpy only.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

LARGEST: Final = 5.0
"""Two normals in three million lie outside of it: beyond, truncation changes nothing."""
SPAN: Final = 9.0
"""No latent is larger: the smallest word gives sqrt(-2 log 2**-53) = 8.57."""
NODES_PER_UNIT: Final = 64  # the interpolation is off by less than 1e-8
FEWEST_TERMS, TERMS_PER_SQUARE = 24, 1.6  # of the series of F, by z²: the rest is below 1e-16
MOST_STEPS: Final = 80
SMALLEST_STEP: Final = 1e-13
TWO_OVER_ROOT_2PI: Final = 0.7978845608028654
CHUNK: Final = 1 << 14  # entries: 128 KiB of float64 stay in the processor's cache

Floats = npt.NDArray[np.float64]
Latents = npt.NDArray[np.float32]


class Truncation:
    """g of one threshold, 0 < t <= 5, as a table."""

    def __init__(self, threshold: float) -> None:
        if not 0 < threshold <= LARGEST:
            raise ValueError(f"a threshold lies above 0 and up to {LARGEST}, not at {threshold}")
        self.threshold = threshold
        z = np.arange(SPAN * NODES_PER_UNIT + 1) / NODES_PER_UNIT
        within = central_mass(np.array([threshold]))[0]
        values = _quantiles(within * central_mass(z))  # [nodes]
        slopes = within * _exp((values * values - z * z) / 2) / NODES_PER_UNIT
        rise = np.diff(values)
        # Of each interval, in u = 0 … 1: ((cubic u + square) u + slope) u + value.
        self._value, self._slope = values[:-1], slopes[:-1]
        self._square = 3 * rise - 2 * slopes[:-1] - slopes[1:]
        self._cubic = slopes[:-1] + slopes[1:] - 2 * rise

    def __call__(self, z: Latents) -> Latents:
        """Standard normals float32 [n, size] -> truncated ones, float32 of the same shape."""
        flat = np.ascontiguousarray(z).reshape(-1)
        truncated = np.empty_like(flat)
        for start in range(0, len(flat), CHUNK):
            cut = slice(start, start + CHUNK)
            truncated[cut] = self._interpolated(flat[cut].astype(np.float64))
        return truncated.reshape(z.shape)

    def _interpolated(self, z: Floats) -> Floats:
        place = np.minimum(np.abs(z), SPAN - 1e-9) * NODES_PER_UNIT
        node = place.astype(np.int64)
        u = place - node
        size = self._cubic[node] * u + self._square[node]
        size = (size * u + self._slope[node]) * u + self._value[node]
        signed: Floats = np.copysign(np.minimum(size, self.threshold), z)
        return signed


def central_mass(z: Floats) -> Floats:
    """F(z) = P(|x| <= z) of a standard normal x, for 0 <= z <= SPAN.

    sqrt(2 / pi) exp(-z² / 2) (z + z³ / 3 + z⁵ / (3 5) + …): no term is negative, so nothing is
    cancelled (Abramowitz and Stegun 1964, 26.2.11).
    """
    square = z * z
    total = np.ones_like(z)
    terms = FEWEST_TERMS + int(TERMS_PER_SQUARE * square.max())
    for odd in range(2 * terms + 1, 1, -2):
        total = total * square / odd + 1.0
    return TWO_OVER_ROOT_2PI * _exp(-square / 2) * z * total


def _quantiles(mass: Floats) -> Floats:
    """F⁻¹ by Newton's method: F is concave, so from 0 it climbs to the root and not beyond."""
    z = np.zeros_like(mass)
    for _ in range(MOST_STEPS):
        step = (mass - central_mass(z)) / (TWO_OVER_ROOT_2PI * _exp(-z * z / 2))
        z = z + step
        if np.abs(step).max() < SMALLEST_STEP:
            break
    return z


def _exp(x: Floats) -> Floats:
    """exp of x <= 0, at least -SPAN² / 2: a Taylor polynomial of x / 64, squared six times."""
    small = x / 64
    total = np.ones_like(x)
    for term in range(16, 0, -1):
        total = total * small / term + 1.0
    for _ in range(6):
        total = total * total
    return total
