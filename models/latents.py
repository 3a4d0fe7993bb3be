"""Latents by counter: candidate c of a shard is a pure function of (seed, model, shard, c).

Philox-4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") turns a
256-bit counter and a 128-bit key into four 64-bit words. Ours are

    key      seed | first 64 bits of the model's SHA-256
    counter  block | shard | purpose | 0        (64 bits each, lowest first)

and candidate c owns the blocks c*b ... (c+1)*b - 1 of its shard, b = ceil(size / 4), so it is the
same vector drawn alone, in any range and in any order. Box & Muller (1958) makes two normals
of two words without rejecting any.

Logarithm, sine and cosine are computed here from additions, multiplications, divisions and a
square root only. IEEE 754 fixes those to the last bit, while the library functions differ
between processors; so latents are equal on every machine. numpy only, no torch.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

NORMAL: Final = 0
"""Purpose word of this stream. Another stream of the same shard takes another number."""

WORDS_PER_BLOCK: Final = 4
CHUNK_WORDS: Final = 1 << 14  # 128 KiB of words: the arithmetic stays in the processor's cache

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]


def normal(
    *, seed: int, model: str, shard: int, first: int, count: int, size: int
) -> npt.NDArray[np.float32]:
    """Standard normal latents of candidates first ... first+count-1: float32 [count, size].

    seed: of the job, 0 ... 2**64 - 1.
    model: SHA-256 of the model, as hexadecimal digits.
    shard: index of the shard, 0 ... 2**64 - 1.
    """
    if count < 0 or size < 1:
        raise ValueError(f"count must be at least 0 and size at least 1, not {count} and {size}")
    blocks = -(-size // WORDS_PER_BLOCK)
    stream = _stream(seed, model, shard, first * blocks, count * blocks)
    latents = np.empty((count, size), np.float32)
    rows = max(1, CHUNK_WORDS // (blocks * WORDS_PER_BLOCK))
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        words = stream.random_raw((stop - start) * blocks * WORDS_PER_BLOCK)
        values = box_muller(words).reshape(stop - start, -1)  # [rows, 4 * blocks]
        latents[start:stop] = values[:, :size]
    return latents


def uniforms(
    *, seed: int, model: str, shard: int, first: int, count: int, size: int, purpose: int
) -> Floats:
    """Numbers in [0, 1) of candidates first ... first+count-1, of 53 bits: float64 [count, size].

    purpose: of the stream; any but `NORMAL`, which is that of the latents.
    """
    words = _words(seed, model, shard, first, count, size, purpose)
    return np.asarray((words >> np.uint64(11)).astype(np.float64)[:, :size] * 2.0**-53)


def normals(
    *, seed: int, model: str, shard: int, first: int, count: int, size: int, purpose: int
) -> Floats:
    """Standard normals of another stream than that of the latents: float64 [count, size]."""
    words = _words(seed, model, shard, first, count, size, purpose)
    return box_muller(words.reshape(-1)).reshape(count, -1)[:, :size]


def _words(
    seed: int, model: str, shard: int, first: int, count: int, size: int, purpose: int
) -> Words:
    """uint64 [count, size, or a little more: whole blocks]."""
    blocks = -(-size // WORDS_PER_BLOCK)
    stream = _stream(seed, model, shard, first * blocks, count * blocks, purpose)
    words: Words = stream.random_raw(count * blocks * WORDS_PER_BLOCK)
    return words.reshape(count, blocks * WORDS_PER_BLOCK)


def _stream(
    seed: int, model: str, shard: int, block: int, blocks: int, purpose: int = NORMAL
) -> np.random.Philox:
    words = {"seed": seed, "shard": shard, "block": block, "last block": block + blocks}
    for name, word in words.items():
        if not 0 <= word < 1 << 64:
            raise ValueError(f"{name} must lie in 0 ... 2**64 - 1, not {word}")
    key = seed | int(model[:16], 16) << 64
    counter = block | shard << 64 | purpose << 128
    # numpy steps the counter before each block, so it starts one below the first.
    return np.random.Philox(key=key, counter=(counter - 1) % (1 << 256))


def box_muller(words: Words) -> Floats:
    """uint64 [2n] -> standard normals float64 [2n], a pair for each pair of words.

    Of words (a, b): radius sqrt(-2 log u) with u in (0, 1], angle 2 pi v with v in [0, 1), both
    of 53 bits; the pair is (radius cos, radius sin).
    """
    pairs = (words >> np.uint64(11)).astype(np.float64).reshape(-1, 2)  # [n, 2], below 2**53
    unit = (pairs[:, 0] + 1.0) * 2.0**-53  # (0, 1]
    quarters = pairs[:, 1] * 2.0**-51  # [0, 4)
    radius = _log(unit)
    radius *= -2.0
    np.sqrt(radius, out=radius)
    cosine, sine = _cos_sin(quarters)
    np.multiply(radius, cosine, out=pairs[:, 0])
    np.multiply(radius, sine, out=pairs[:, 1])
    return pairs.reshape(-1)


LN2: Final = 0.6931471805599453
ROOT_HALF_BITS: Final = np.float64(0.7071067811865476).view(np.int64)
EXPONENT_SHIFT: Final = 52
ARTANH: Final = tuple(1.0 / odd for odd in range(15, 0, -2))
"""Taylor coefficients of artanh(s) / s in s*s, highest first: error below 1e-14 for |s| < 0.172."""


def _log(x: Floats) -> Floats:
    """Natural logarithm of positive x: x = m 2**e, log m = 2 artanh((m - 1) / (m + 1)).

    m lies in [sqrt(1/2), sqrt(2)). It and e are taken from the bits of x, which order positive
    numbers as their values do.
    """
    bits = x.view(np.int64)
    exponent = (bits - ROOT_HALF_BITS) >> EXPONENT_SHIFT
    mantissa = (bits - (exponent << EXPONENT_SHIFT)).view(np.float64)
    s = mantissa - 1.0
    mantissa += 1.0
    s /= mantissa
    log = _polynomial(s * s, ARTANH)
    s *= 2.0
    log *= s
    power = exponent.astype(np.float64)
    power *= LN2
    log += power
    return log


SINE: Final = tuple(
    sign / factorial
    for sign, factorial in zip(
        (1, -1, 1, -1, 1, -1, 1), (6227020800, 39916800, 362880, 5040, 120, 6, 1), strict=True
    )
)
COSINE: Final = tuple(
    sign / factorial
    for sign, factorial in zip(
        (-1, 1, -1, 1, -1, 1, -1, 1),
        (87178291200, 479001600, 3628800, 40320, 720, 24, 2, 1),
        strict=True,
    )
)
"""Taylor coefficients in x*x, highest first: error below 1e-13 for |x| <= pi / 4."""

SIGN: Final = np.int64(-(2**63))


def _cos_sin(turn: Floats) -> tuple[Floats, Floats]:
    """Cosine and sine of quarter turns: the nearest whole one, then a polynomial of the rest.

    Odd quarters swap the two; the signs are those of the quadrant.
    """
    nearest = np.rint(turn)
    x = turn - nearest  # exact
    x *= np.pi / 2  # [-pi/4, pi/4]
    square = x * x
    x *= _polynomial(square, SINE)
    sine, cosine = x.view(np.int64), _polynomial(square, COSINE).view(np.int64)
    quadrant = nearest.astype(np.int64)  # 0 ... 4
    swap = sine ^ cosine
    swap &= -(quadrant & 1)
    cosine ^= swap
    sine ^= swap
    sine ^= (quadrant << 62) & SIGN  # negative from two quarters on
    quadrant += 1
    cosine ^= (quadrant << 62) & SIGN  # and this one for one and two
    return cosine.view(np.float64), sine.view(np.float64)


def _polynomial(x: Floats, coefficients: tuple[float, ...]) -> Floats:
    """Horner's rule, highest coefficient first."""
    total = x * coefficients[0]
    total += coefficients[1]
    for coefficient in coefficients[2:]:
        total *= x
        total += coefficient
    return total
