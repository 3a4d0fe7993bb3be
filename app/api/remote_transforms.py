"""The transforms of a plan, done by a worker: the API loads no torchvision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.jobs.plan import Plan, numbered
from app.wire import Drawn, Transforming


@dataclass(frozen=True, slots=True)
class RemoteChanger:
    """Does the transforms of a plan to images of one of its shards, as a job's worker does."""

    transform: Callable[[Transforming], Drawn]
    """Asks a worker, and waits."""
    plan: Plan
    shard: int

    def change(
        self,
        model: int,
        candidates: NDArray[np.int64],
        copies: NDArray[np.int64],
        images: NDArray[np.uint8],
    ) -> NDArray[np.uint8]:
        """The variants of each image, image by image: uint8 [sum of copies, H, W, C].

        model: its place in the plan. candidates, copies: [n]. images: uint8 [n, H, W, C].
        """
        if not len(candidates):
            return images
        variants = numbered(copies)
        places = [np.full(len(variants), self.shard), np.repeat(candidates, copies), variants]
        asked = Transforming(
            self.plan.models[model].sha256,
            self.plan.seed,
            [each.model_dump(mode="json") for each in self.plan.transforms],
            np.stack(places, axis=1).astype(np.int64),
            np.repeat(images, copies, axis=0),
        )
        return self.transform(asked).pixels
