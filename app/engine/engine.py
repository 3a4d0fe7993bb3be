"""The device of a worker: resident models, and the batcher that both lanes meet in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from app.engine.batcher import Batcher, Kind, Lane, Run
from app.engine.devices import environment
from app.engine.residents import Loader, Residents
from app.errors import ModelCorruptError, ModelUnusableError
from models.errors import CheckpointError, ModelError
from models.generator import Generator, Pixels, check_inputs


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an engine keeps, and how long it waits."""

    resident_bytes: int
    linger_seconds: float
    most_waiting: int


class Engine:
    """Generates images from any thread; see `Batcher` for who is served when."""

    def __init__(self, device: torch.device, load: Loader, run: Run, limits: Limits) -> None:
        self.environment = environment(device)
        self._residents = Residents(load, limits.resident_bytes)
        self._batcher = Batcher(
            run, linger_seconds=limits.linger_seconds, most_waiting=limits.most_waiting
        )

    @property
    def resident(self) -> list[str]:
        """SHA-256 of the models that are loaded, the least recently used first."""
        return self._residents.loaded

    def for_job(self, job_id: str, precision: str = "float32") -> Seat:
        """The engine as a job sees it: behind whoever waits, in turn with the other jobs."""
        return Seat(self, Lane.JOB, job_id, precision)

    def for_request(self, request_id: str, precision: str = "float32") -> Seat:
        """The engine as somebody sees it who waits for the answer: ahead of the jobs."""
        return Seat(self, Lane.SYNC, request_id, precision)

    def generate(
        self,
        seat: Seat,
        model: str,
        z: NDArray[np.float32],
        labels: NDArray[np.int64] | None,
        batch: int,
    ) -> Pixels:
        """Images of latents, once their batches have run. The model stays resident meanwhile.

        model: SHA-256 of a registered model.
        z: float32 [n, latent_size]; labels: int64 [n], or None for a model that takes none.
        Returns uint8 [n, H, W, C] and finite bool [n].
        """
        with self._using(model) as generator:
            # Before it meets the requests of others, which must not fail with it.
            check_inputs(generator, z, labels)
            kind = Kind(model, batch, seat.precision)
            return self._batcher.submit(seat.lane, seat.source, kind, generator, z, labels).result()

    def latent_size(self, model: str) -> int:
        """Length of one latent of a model; loads the model."""
        with self._using(model) as generator:
            return generator.latent_size

    def close(self) -> None:
        """End the device's thread; whoever waits is told so."""
        self._batcher.close()

    @contextmanager
    def _using(self, model: str) -> Iterator[Generator]:
        try:
            with self._residents.use(model) as generator:
                yield generator
        except CheckpointError as error:
            raise ModelCorruptError(
                f"The checkpoint of model {model[:12]}… can't be used: {error}. Register it "
                "again, then submit the job again."
            ) from error
        except ModelError as error:
            raise ModelUnusableError(f"The generator can't do this: {error}.") from error


@dataclass(frozen=True, slots=True)
class Seat:
    """An engine as one job, or one request, sees it."""

    engine: Engine
    lane: Lane
    source: str
    precision: str

    def generate(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Pixels:
        """Images of latents: see `Engine.generate`."""
        return self.engine.generate(self, model, z, labels, batch)

    def latent_size(self, model: str) -> int:
        """Length of one latent of a model."""
        return self.engine.latent_size(model)
