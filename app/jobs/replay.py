"""Samples drawn again, each from what the manifest says of it. Pure; a worker draws the pixels."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from app.jobs.plan import Plan
from app.jobs.sampling import Sampling, shaping
from models.latents import normal


class Origin(NamedTuple):
    """Where one sample comes from; seed and sampling are those of its job."""

    model: str
    """SHA-256."""
    shard: int
    candidate: int
    label: int | None
    """What the generator was asked for; None where it takes no class."""
    variant: int = 0
    """Which of those that the transforms made of the drawn image."""


class Redrawn(NamedTuple):
    """A sample that was drawn again."""

    place: int
    """Position among the origins that were asked for."""
    pixels: NDArray[np.uint8] | None
    """[H, W, C]; None where they are not finite."""

    @property
    def sha256(self) -> bytes | None:
        """Of the pixels, as the manifest has it."""
        return None if self.pixels is None else hashlib.sha256(self.pixels.tobytes()).digest()


class Batch(Protocol):
    """What a worker answers."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """[n, H, W, C]."""

    @property
    def finite(self) -> NDArray[np.bool_]:
        """[n]."""


class Worker(Protocol):
    """Who draws, and does what a job did to drawn images."""

    def draw(self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None) -> Batch:
        """From the SHA-256 of a model, latents [n, size] and labels [n] to images; n is the full
        batch."""

    def transform(self, origins: Sequence[Origin], images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """From drawn images [n, H, W, C] of one model to what is delivered."""


@dataclass(frozen=True)
class Redrawing:
    """What samples of one job have in common."""

    seed: int
    sampling: Sampling | None
    batch: int
    latent_sizes: Mapping[str, int]
    """SHA-256 of each model → length of its latents."""

    def draw(self, origins: Sequence[Origin], worker: Worker) -> Iterator[Redrawn]:
        """Each origin's pixels, model by model, in batches as large as the job's were."""
        shaped = shaping(self.sampling)
        for model in dict.fromkeys(origin.model for origin in origins):
            places = [k for k, origin in enumerate(origins) if origin.model == model]
            for start in range(0, len(places), self.batch):
                some = places[start : start + self.batch]
                yield from self._batch([origins[k] for k in some], some, shaped, worker)

    def _batch(
        self,
        origins: Sequence[Origin],
        places: Sequence[int],
        shaped: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        worker: Worker,
    ) -> Iterator[Redrawn]:
        # A full batch, as a job's is: on some devices the pixels depend on its size.
        full = [*range(len(origins)), *[0] * (self.batch - len(origins))]
        z = shaped(np.concatenate([self._latent(origin) for origin in origins]))
        labels = None
        if origins[0].label is not None:
            labels = np.array([origin.label for origin in origins], np.int64)[full]
        made = worker.draw(origins[0].model, z[full], labels)
        images = worker.transform(origins, made.pixels[: len(origins)])
        for row, place in enumerate(places):
            yield Redrawn(place, images[row] if made.finite[row] else None)

    def _latent(self, origin: Origin) -> NDArray[np.float32]:
        return normal(
            seed=self.seed,
            model=origin.model,
            shard=origin.shard,
            first=origin.candidate,
            count=1,
            size=self.latent_sizes[origin.model],
        )


def origin_of(plan: Plan, cell: int, shard: int, candidate: int, variant: int = 0) -> Origin:
    """Where a sample of a plan comes from."""
    planned = plan.cells[cell]
    label = None if planned.condition < 0 or plan.labelled_by else planned.condition
    return Origin(plan.models[planned.model].sha256, shard, candidate, label, variant)


def chosen(samples: int, count: int, seed: int) -> list[int]:
    """`count` of the indices 0 … samples-1, or all: the same ones for the same seed; ascending."""
    return sorted(random.Random(seed).sample(range(samples), min(count, samples)))  # noqa: S311


def counted_share(samples: int, share: float) -> int:
    """How many samples a share is: rounded up, so that it never is none."""
    return max(1, min(samples, ceil(samples * share)))


class Change(NamedTuple):
    """Something that pixels may depend on, then and now."""

    name: str
    recorded: str
    now: str

    def __str__(self) -> str:
        return f"{self.name} {self.recorded} then, {self.now} now"


def changes(
    recorded: Sequence[Mapping[str, str]], now: Mapping[str, str], names: Mapping[str, str]
) -> list[Change]:
    """What differs between the environments that made samples and the present one.

    names: key in an environment → what it is called; a key that is missing is said to be unknown.
    """
    found: list[Change] = []
    for key, name in names.items():
        then = dict.fromkeys(str(each.get(key, "unknown")) for each in recorded)
        present = str(now.get(key, "unknown"))
        if list(then) != [present]:
            found.append(Change(name, ", ".join(then), present))
    return found


ENVIRONMENT = {
    "device": "device",
    "device_name": "device name",
    "machine": "machine",
    "python": "Python",
    "torch": "torch",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "engine_batch": "engine batch",
    "precision": "precision",
}
"""What of an environment is compared."""
TRANSFORMED = {**ENVIRONMENT, "torchvision": "torchvision"}
"""The same of samples that were transformed."""
