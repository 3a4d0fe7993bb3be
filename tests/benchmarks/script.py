"""What people write to get images out of a generator: a loop and torchvision's `save_image`.

`python -m tests.benchmarks.script MODEL SAMPLES BATCH OUT` prints the seconds of the loop, without
start-up and loading. A batch of 64 is the usual one; a batch of 1 is one forward pass an image.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from torchvision.utils import save_image

from models.checkpoint import load
from models.zoo.catalogue import shipped_model

FOLDERS = 10


@torch.no_grad()
def run(model: str, samples: int, batch: int, out: Path) -> float:
    """Seconds for `samples` PNG files in folders of classes."""
    shipped = shipped_model(model)
    generator = load(shipped.spec, shipped.weights_path)
    classes = len(shipped.spec.classes)
    for label in range(FOLDERS):
        (out / str(label)).mkdir(parents=True)
    began = time.perf_counter()
    for first in range(0, samples, batch):
        count = min(batch, samples - first)
        z = torch.randn(count, shipped.spec.latent_size)
        labels = torch.arange(first, first + count) % FOLDERS
        images = generator(z, labels if classes else None)
        for number, image in enumerate(images, first):
            target = out / str(number % FOLDERS) / f"{number}.png"
            save_image(image, target, normalize=True, value_range=shipped.spec.value_range)
    return time.perf_counter() - began


if __name__ == "__main__":
    name, count, size, target = sys.argv[1:]
    sys.stdout.write(f"{run(name, int(count), int(size), Path(target))}\n")
