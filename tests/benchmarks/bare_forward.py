"""Forward pass, uint8 and encoding with nothing around: what a server is measured against.

`python -m tests.benchmarks.bare_forward CHECKPOINT BATCH REQUEST SECONDS` prints the samples a
second of batches of BATCH (each split into answers of REQUEST samples), and the median
milliseconds of a batch of REQUEST alone. Latents are drawn beforehand; an answer is an NPZ file,
as the service's.
"""

from __future__ import annotations

import io
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

from models.checkpoint import load
from models.files import WEIGHTS_FILE, read_spec
from models.generator import Generator, to_pixels

WARM_SECONDS = 0.3


@torch.inference_mode()
def batch_seconds(generator: Generator, batch: int, request: int, seconds: float) -> list[float]:
    """How long each batch of that size took, for so many seconds in all."""
    z = torch.randn(batch, generator.latent_size)
    labels = torch.arange(batch) % generator.class_count if generator.class_count else None
    took, end = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        made = to_pixels(generator(z, labels), generator.value_range)
        for start in range(0, batch, request):
            np.savez(io.BytesIO(), images=made.pixels[start : start + request])
        took.append(time.perf_counter() - began)
    return took


if __name__ == "__main__":
    folder, size, asked, duration = sys.argv[1:]
    generator = load(read_spec(Path(folder)), Path(folder) / WEIGHTS_FILE)
    batch_seconds(generator, int(size), int(asked), WARM_SECONDS)
    full = batch_seconds(generator, int(size), int(asked), float(duration))
    lone = batch_seconds(generator, int(asked), int(asked), float(duration) / 2)
    sys.stdout.write(f"{int(size) * len(full) / sum(full)} {1_000 * statistics.median(lone)}\n")
