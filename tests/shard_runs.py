"""Shards of jobs, run with an engine that is plain arithmetic."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.datasets.manifest import SampleRow
from app.datasets.zip_writer import ZipWriter
from app.jobs.drawing import AtOnce
from app.jobs.plan import Plan
from app.jobs.shard import ShardRun
from models.latents import normal

SIDE, LATENT = 6, 5


class Made(NamedTuple):
    """A batch."""

    pixels: NDArray[np.uint8]
    finite: NDArray[np.bool_]


Paint = Callable[[bytes, int], NDArray[np.uint8]]
"""From a digest of model and latent, and the label (-1: none), to an image [SIDE, SIDE, 1]."""


def shades(digest: bytes, label: int) -> NDArray[np.uint8]:
    """Noise about a grey that the first byte decides."""
    noise = np.frombuffer((digest * 2)[: SIDE * SIDE], np.uint8).astype(np.int64) // 8
    return np.clip(noise + digest[0], 0, 255).astype(np.uint8).reshape(SIDE, SIDE, 1)


@dataclass
class Painter:
    """An engine whose images are a function of model, latent and label; every eighth is bad."""

    paint: Paint = shades
    drawn: list[int] = field(default_factory=list)

    def latent_size(self, model: str) -> int:
        """Of every model."""
        return LATENT

    def generate(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Made:
        """One image for each latent."""
        assert 0 < len(z) <= batch
        self.drawn.append(len(z))
        digests = [digest_of(model, row) for row in z]
        meant = [-1] * len(z) if labels is None else labels.tolist()
        pixels = np.stack([self.paint(d, k) for d, k in zip(digests, meant, strict=True)])
        return Made(pixels, np.array([is_finite(digest) for digest in digests]))

    def one(self, plan: Plan, model: int, shard: int, candidate: int, label: int) -> Made:
        """A single candidate, by the rule of its latent."""
        sha256 = plan.models[model].sha256
        z = normal(seed=plan.seed, model=sha256, shard=shard, first=candidate, count=1, size=LATENT)
        return self.generate(sha256, z, None if label < 0 else np.array([label]), 1)


def digest_of(model: str, z: NDArray[np.float32]) -> bytes:
    """What an image follows from."""
    return hashlib.sha256(model.encode() + z.tobytes()).digest()


def is_finite(digest: bytes) -> bool:
    """Seven of eight."""
    return digest[31] >= 32


@dataclass(frozen=True)
class Ran:
    """A run, its file and the images in it by sample."""

    run: ShardRun
    content: bytes
    images: dict[int, NDArray[np.uint8]]

    @property
    def rows(self) -> Sequence[SampleRow]:
        """Of its samples."""
        return self.run.rows

    @property
    def files(self) -> dict[str, bytes]:
        """The members of its file."""
        with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    @property
    def chosen(self) -> list[tuple[int, int]]:
        """(sample, candidate)."""
        return [(row.sample, row.candidate) for row in self.run.rows]


def run(
    plan: Plan, shard: int = 0, engine: Painter | None = None, factor: float = 10.0, **fields: Any
) -> Ran:
    """Run one shard."""
    sink = io.BytesIO()
    with ThreadPoolExecutor(2) as pool:
        made = ShardRun(
            plan=plan,
            shard=plan.shard(shard),
            engine=AtOnce(engine or Painter()),
            encoders=pool,
            report=fields.pop("report", lambda _: None),
            refusal_factor=factor,
            **fields,
        )
        members = ZipWriter(sink)
        try:
            made.write(members)
            members.close()
        finally:
            members.discard()
    with zipfile.ZipFile(sink) as archive:
        images = {
            int(name.split("/")[1].split(".")[0]): np.asarray(Image.open(archive.open(name)))
            for name in archive.namelist()
        }
    return Ran(made, sink.getvalue(), images)
