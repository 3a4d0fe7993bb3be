"""The samples that an evaluation measures: read, or drawn as a job of that seed draws them."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.jobs.drawing import Drawing
from app.jobs.plan import Plan
from models.checkpoint import load
from models.corpus.corpus import Corpus
from models.corpus.read import read
from models.generator import Generator, Pixels, sample
from models.spec import ModelSpec

REFUSAL_FACTOR = 10.0


def subject_of(place: dict[str, Any]) -> Corpus:
    """The samples of an order. Raises DatasetError, and what loading or drawing raise."""
    if "plan" not in place:
        return read(Path(place["path"]))
    spec = ModelSpec.model_validate(place["spec"])
    return drawn(Plan.from_json(place["plan"]), load(spec, Path(place["weights"])))


def drawn(plan: Plan, generator: Generator) -> Corpus:
    """All samples of a plan over one model, in the order of a job's manifest."""
    image = plan.image
    images = np.empty((plan.samples, image.height, image.width, image.channels), np.uint8)
    labels = np.empty(plan.samples, np.int64)
    label_of = np.array([cell.label for cell in plan.cells], np.int64)
    engine = _Here(generator)
    for index in range(plan.shards):
        shard = plan.shard(index)
        drawing = Drawing(plan=plan, shard=shard, engine=engine, refusal_factor=REFUSAL_FACTOR)
        for candidates, pixels in drawing.accepted():
            taken = candidates.positions >= 0
            images[shard.first + candidates.positions[taken]] = pixels[taken]
        labels[shard.first : shard.first + shard.size] = label_of[shard.cells]
    return Corpus(images, labels, plan.classes)


class _Here:
    """The generator in this process, as the loop over a shard asks an engine."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    def submit(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Future[Pixels]:
        """Images of one batch, at once; padded to its size, as a worker does."""
        future: Future[Pixels] = Future()
        missing = batch - len(z)
        padded = np.pad(z, ((0, missing), (0, 0)))
        takes = None if labels is None else np.pad(labels, (0, missing))
        made = sample(self._generator, padded, takes)
        future.set_result(Pixels(made.pixels[: len(z)], made.finite[: len(z)]))
        return future

    def latent_size(self, model: str) -> int:
        """Length of one latent."""
        return self._generator.latent_size
