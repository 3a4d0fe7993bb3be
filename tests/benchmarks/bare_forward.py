"""Forward and uint8 conversion alone: `python -m tests.benchmarks.bare_forward MODEL BATCH`.

Prints samples per second at that batch size, and milliseconds of one batch of 16.
"""

from __future__ import annotations

import sys
import time

import torch

from models.checkpoint import load
from models.generator import Generator, to_pixels
from models.zoo.catalogue import shipped_model

SECONDS = 4.0
LONE = 16


@torch.inference_mode()
def batches_per_second(generator: Generator, batch: int, seconds: float) -> float:
    """How often a batch of that size can be made."""
    z = torch.randn(batch, generator.latent_size)
    labels = torch.arange(batch) % generator.class_count if generator.class_count else None
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        to_pixels(generator(z, labels), generator.value_range)
        count += 1
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    name, size = sys.argv[1:]
    shipped = shipped_model(name)
    loaded = load(shipped.spec, shipped.weights_path)
    batches_per_second(loaded, int(size), 0.5)
    full = int(size) * batches_per_second(loaded, int(size), SECONDS)
    lone = 1_000 / batches_per_second(loaded, LONE, SECONDS)
    sys.stdout.write(f"{full} {lone}\n")
