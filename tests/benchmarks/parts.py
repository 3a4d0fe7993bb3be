"""Single parts against what they replace: encoders, row inserts."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.datasets.png import encode_batch

BATCH, ROUNDS = 256, 20
ROWS, TRANSACTIONS = 5_000, 40


def png_over_pillow() -> dict[str, float]:
    """Images per second of the batch encoder over Pillow at level 1, one thread and two."""
    figures: dict[str, float] = {}
    for name, shape in {"28x28": (28, 28, 1), "32x32_rgb": (32, 32, 3)}.items():
        pixels = natural(shape)
        for threads in (1, 2):
            ours, theirs = [], []
            for _ in range(5):
                ours.append(_rate(encode_batch, pixels, threads))
                theirs.append(_rate(_pillow, pixels, threads))
            ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
            figures[f"png_over_pillow_{name}_{threads}"] = ratio
    figures["png_over_pillow"] = min(figures.values())
    return figures


def natural(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Smooth shapes with a little noise: neither blank nor incompressible."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (BATCH, shape[0] // 4, shape[1] // 4, shape[2]))
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    noisy = large + random.normal(0, 2, large.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def _pillow(pixels: NDArray[np.uint8]) -> list[bytes]:
    made = []
    for image in pixels:
        out = io.BytesIO()
        plane = image[..., 0] if image.shape[2] == 1 else image
        Image.fromarray(plane).save(out, "PNG", compress_level=1)
        made.append(out.getvalue())
    return made


def _rate(
    encode: Callable[[NDArray[np.uint8]], object], pixels: NDArray[np.uint8], threads: int
) -> float:
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(encode, [pixels] * ROUNDS))
        return ROUNDS * len(pixels) / (time.perf_counter() - began)
