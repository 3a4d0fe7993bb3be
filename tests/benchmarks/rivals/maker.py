"""What every rival does for a batch of requests: latents, one forward pass, uint8, bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from models.checkpoint import load
from models.files import WEIGHTS_FILE, read_spec
from models.generator import to_pixels

CHECKPOINT = "BENCH_CHECKPOINT"
"""Environment variable: folder of the generator."""

MOST_REQUESTS = 4
"""Of 16 samples each: at most 64 samples a batch, as Synthloom is told to."""
LINGER_SECONDS = 0.005


class Maker:
    """A loaded generator."""

    def __init__(self) -> None:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        folder = Path(os.environ[CHECKPOINT])
        self._generator = load(read_spec(folder), folder / WEIGHTS_FILE)

    @torch.inference_mode()
    def answers(self, requests: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """Requests `{"seed": int, "labels": [int, …]}` → raw uint8 [n, H, W, C] of each."""
        z = torch.cat([self._latents(r["seed"], len(r["labels"])) for r in requests])
        labels = torch.tensor([label for r in requests for label in r["labels"]])
        pixels = to_pixels(self._generator(z, labels), self._generator.value_range).pixels
        made, start = [], 0
        for request in requests:
            stop = start + len(request["labels"])
            made.append(pixels[start:stop].tobytes())
            start = stop
        return made

    def _latents(self, seed: int, count: int) -> torch.Tensor:
        source = torch.Generator().manual_seed(seed)
        return torch.randn(count, self._generator.latent_size, generator=source)
