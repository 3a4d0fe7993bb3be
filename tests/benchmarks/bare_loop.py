"""The loop an engineer writes in an evening: no service, no database, no manifest.

Same generator, batch size and encoder as a job; the images go into one plain tar. Run as a
process of its own, like a worker: `python -m tests.benchmarks.bare_loop MODEL SAMPLES OUT`.
Prints the seconds of the loop, without start-up and loading.
"""

from __future__ import annotations

import io
import sys
import tarfile
import time
from pathlib import Path

import torch

from app.datasets.png import encode_batch
from models.checkpoint import load
from models.generator import to_pixels
from models.zoo.catalogue import shipped_model

BATCH = 256


@torch.inference_mode()
def run(model: str, samples: int, out: Path) -> float:
    """Seconds for `samples` images, written and synced."""
    shipped = shipped_model(model)
    generator = load(shipped.spec, shipped.weights_path)
    classes = len(shipped.spec.classes)
    began = time.perf_counter()
    with tarfile.open(out, "w") as tar:
        for first in range(0, samples, BATCH):
            count = min(BATCH, samples - first)
            z = torch.randn(count, shipped.spec.latent_size)
            labels = torch.arange(first, first + count) % classes if classes else None
            made = to_pixels(generator(z, labels), shipped.spec.value_range)
            for number, payload in enumerate(encode_batch(made.pixels), first):
                member = tarfile.TarInfo(f"{number % max(classes, 1)}/{number:08d}.png")
                member.size = len(payload)
                tar.addfile(member, io.BytesIO(payload))
    return time.perf_counter() - began


if __name__ == "__main__":
    name, count, target = sys.argv[1:]
    sys.stdout.write(f"{run(name, int(count), Path(target))}\n")
