"""Run one shard: latents → generator → checks → encode → shard file. No database, no torch.

Candidate c of a model's stream in this shard has the latent `normal(seed, model, shard, c)`.
The first candidates go to the shard's samples in order; a refused one leaves its sample to be
filled by the next candidates of the same stream, so every run of a shard ends in the same
samples, and exactly as many as the plan says.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.datasets.encoders import Encode, encoder_of
from app.datasets.manifest import Layout, SampleRow
from app.errors import DryClassError
from app.jobs.plan import Plan, Shard
from models.latents import normal

BATCHES_AHEAD = 4
"""Batches that may wait for an encoder or the writer: bounds memory, keeps both busy."""


class Batch(Protocol):
    """What a generator gave for one batch."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """[n, H, W, C]."""

    @property
    def finite(self) -> NDArray[np.bool_]:
        """[n], False where the image must not be used."""


class Generates(Protocol):
    """The engine, as far as a shard needs it."""

    def generate(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Batch:
        """Images of one batch."""

    def latent_size(self, model: str) -> int:
        """Length of one latent."""


class Members(Protocol):
    """The shard file."""

    def add(self, name: str, payload: bytes) -> int:
        """Append a file; returns where its bytes begin."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """One batch of a model's stream, and the samples it may fill."""

    model: int
    first: int
    positions: NDArray[np.int64]
    """[n] positions in the shard."""


@dataclass(frozen=True, slots=True)
class Image:
    """One encoded sample."""

    position: int
    candidate: int
    payload: bytes
    pixel_sha256: bytes


@dataclass
class ShardRun:
    """One run of one shard; `rows` and `refused` are its results."""

    plan: Plan
    shard: Shard
    engine: Generates
    encoders: Executor
    report: Callable[[int], None]
    """Called with the number of samples so far; raises to stop the run."""
    refusal_factor: float
    encode: Encode | None = None
    """Instead of the encoder of the plan."""
    rows: list[SampleRow] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0

    def write(self, members: Members) -> None:
        """Draw every sample of the shard into the file.

        Raises DryClassError when a class can't be filled, and whatever engine or writer raise.
        """
        began = time.perf_counter()
        layout = Layout(self.plan)
        for images in self._encoded():
            for image in images:
                self.rows.append(self._store(members, layout, image))
            self.report(len(self.rows))
        self.rows.sort()
        self.seconds = time.perf_counter() - began

    def _store(self, members: Members, layout: Layout, image: Image) -> SampleRow:
        index = self.shard.first + image.position
        cell = int(self.shard.cells[image.position])
        return SampleRow(
            sample=index,
            cell=cell,
            candidate=image.candidate,
            offset=members.add(layout.file_name(index, cell), image.payload),
            length=len(image.payload),
            file_sha256=hashlib.sha256(image.payload).digest(),
            pixel_sha256=image.pixel_sha256,
        )

    def _encoded(self) -> Iterator[list[Image]]:
        """Encoded batches in order; the next ones are drawn while these are encoded."""
        waiting: deque[Future[list[Image]]] = deque()
        try:
            for candidates, pixels in self._accepted():
                waiting.append(self.encoders.submit(self._encode, candidates, pixels))
                if len(waiting) >= BATCHES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _accepted(self) -> Iterator[tuple[Candidates, NDArray[np.uint8]]]:
        cell_model = np.array([cell.model for cell in self.plan.cells])
        model_of = cell_model[self.shard.cells]  # [size]
        for model in range(len(self.plan.models)):
            yield from self._fill(model, np.flatnonzero(model_of == model))

    def _fill(
        self, model: int, wanted: NDArray[np.int64]
    ) -> Iterator[tuple[Candidates, NDArray[np.uint8]]]:
        """Candidates of one model until every wanted position has one."""
        limit = int(len(wanted) * self.refusal_factor)
        first = 0
        while len(wanted):
            if first + len(wanted) > limit:
                raise self._dry(wanted, first)
            refused: list[NDArray[np.int64]] = []
            for start in range(0, len(wanted), self.plan.engine_batch):
                positions = wanted[start : start + self.plan.engine_batch]
                batch = self._generate(model, first + start, positions)
                refused.append(positions[~batch.finite])
                kept = np.flatnonzero(batch.finite)
                if len(kept):
                    yield (
                        Candidates(model, first + start, np.where(batch.finite, positions, -1)),
                        batch.pixels,
                    )
            first += len(wanted)
            wanted = np.concatenate(refused)
            self.refused += len(wanted)

    def _generate(self, model: int, first: int, positions: NDArray[np.int64]) -> Batch:
        planned = self.plan.models[model]
        z = normal(
            seed=self.plan.seed,
            model=planned.sha256,
            shard=self.shard.index,
            first=first,
            count=len(positions),
            size=self.engine.latent_size(planned.sha256),
        )
        conditions = np.array([cell.condition for cell in self.plan.cells], np.int64)
        labels = conditions[self.shard.cells[positions]]  # [n]
        takes_none = bool(len(labels)) and labels[0] < 0
        return self.engine.generate(
            planned.sha256, z, None if takes_none else labels, self.plan.engine_batch
        )

    def _dry(self, wanted: NDArray[np.int64], drawn: int) -> DryClassError:
        cells = [self.plan.cells[cell] for cell in self.shard.cells[wanted]]
        short: dict[str, int] = {}
        for cell in cells:
            name = self.plan.classes[cell.label]
            short[name] = short.get(name, 0) + 1
        model = self.plan.models[cells[0].model].ref
        missing = ", ".join(f"{name!a} ({n} missing)" for name, n in short.items())
        return DryClassError(
            f"{model} ran dry for {missing}: of {drawn} candidates of shard {self.shard.index}, "
            f"{self.refused} were refused because their values were not finite (NaN or "
            "infinite). The checkpoint is likely broken: train or register it again.",
            missing=short,
            refused={"not-finite": self.refused},
        )

    def _encode(self, candidates: Candidates, pixels: NDArray[np.uint8]) -> list[Image]:
        keep = np.flatnonzero(candidates.positions >= 0)
        kept = pixels[keep]
        encode = self.encode or encoder_of(self.plan.encoding)
        return [
            Image(
                position=int(candidates.positions[k]),
                candidate=candidates.first + int(k),
                payload=payload,
                pixel_sha256=hashlib.sha256(image.tobytes()).digest(),
            )
            for k, image, payload in zip(keep, kept, encode(kept), strict=True)
        ]
