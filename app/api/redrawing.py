"""Samples that are drawn again at once, of a job or of a manifest: how many, and by whom."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
from anyio import from_thread
from numpy.typing import NDArray

from app.api.services import Services
from app.errors import JobTooLargeError
from app.jobs.replay import Origin, Redrawing
from app.jobs.transforms import Transform
from app.wire import Draw, Drawn, Transforming
from models.spec import ModelSpec

MOST_SAMPLES = 1_000
MOST_BYTES = 256 << 20


class Asking:
    """Workers asked for full batches, and for what transforms make of them; remembers what did."""

    def __init__(
        self,
        services: Services,
        redrawing: Redrawing,
        precision: str,
        transforms: Sequence[Transform] = (),
    ) -> None:
        self._workers = services.workers
        self._redrawing = redrawing
        psi = redrawing.sampling.psi if redrawing.sampling else None
        self._draw = (redrawing.batch, precision, f"replay-{secrets.token_hex(4)}", psi)
        self._transforms = [each.model_dump(mode="json") for each in transforms]
        self.environment: dict[str, str] = {}

    def draw(self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None) -> Drawn:
        """Images of latents: as of `Redrawing`."""
        made = from_thread.run(self._workers.ask, Draw(model, z, labels, *self._draw))
        self.environment |= made.environment
        return made

    def transform(self, origins: Sequence[Origin], images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What a job made of drawn images: as of `Redrawing`."""
        if not self._transforms:
            return images
        places = [(each.shard, each.candidate, each.variant) for each in origins]
        asked = Transforming(
            origins[0].model,
            self._redrawing.seed,
            self._transforms,
            np.array(places, np.int64),
            images,
        )
        changed = from_thread.run(self._workers.transform, asked)
        self.environment |= changed.environment
        return changed.pixels


def check_bytes(specs: Sequence[ModelSpec], samples: int) -> None:
    """Raise JobTooLargeError."""
    if samples * max(spec.image.bytes for spec in specs) > MOST_BYTES:
        raise JobTooLargeError(
            f"At most {MOST_BYTES >> 20} MiB of pixels are drawn again at once. Ask for fewer.",
            limit=MOST_SAMPLES,
        )
