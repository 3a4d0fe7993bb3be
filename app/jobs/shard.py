"""Run one shard: what `Drawing` draws → encode → shard file. No database, no torch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from itertools import starmap
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.datasets import marks
from app.datasets.encoders import encoder_of
from app.datasets.manifest import Layout, SampleRow
from app.datasets.signing import NEEDED, Signing
from app.errors import SigningError
from app.jobs.drawing import Drawing
from app.jobs.encoded import Candidates, Change, Encoded, encoded

BATCHES_AHEAD = 4
"""Batches that may wait for an encoder or the writer: bounds memory, keeps both busy."""


class Members(Protocol):
    """The shard file."""

    def add_all(self, names: list[str], payloads: list[bytes]) -> list[int]:
        """Append files; returns where the bytes of each begin."""


@dataclass(kw_only=True)
class ShardRun(Drawing):
    """One run of one shard; `rows` and `refused` are its results."""

    encoders: Executor
    change: Change | None = None
    """Needed where the plan has transforms."""
    signing: Signing | None = None
    """Needed where the plan wants images signed."""
    report: Callable[[int], None]
    """Called with the number of samples so far; raises to stop the run."""
    rows: list[SampleRow] = field(default_factory=list)
    seconds: float = 0.0
    encoding_seconds: float = 0.0
    """Of processors."""

    def write(self, members: Members) -> None:
        """Draw every sample of the shard into the file.

        Raises DryClassError when a class can't be filled, and whatever engine or writer raise.
        """
        began = time.perf_counter()
        layout = Layout(self.plan)
        for batch in self._encoded():
            self._store(members, layout, batch)
            self.report(len(self.rows))
        self.rows.sort()
        self.seconds = time.perf_counter() - began

    def look_up(self) -> None:
        """As of `Drawing`."""
        self.report(len(self.rows))

    def _store(self, members: Members, layout: Layout, batch: Encoded) -> None:
        self.encoding_seconds += batch.cpu_seconds
        indices = (self.shard.first + batch.positions).tolist()
        cells = self.shard.cells[batch.positions].tolist()
        offsets = members.add_all(list(map(layout.file_name, indices, cells)), batch.payloads)
        columns = zip(
            indices,
            cells,
            batch.candidates,
            offsets,
            map(len, batch.payloads),
            batch.file_sha256,
            batch.pixel_sha256,
            strict=True,
        )
        self.rows += starmap(SampleRow, columns)

    def _encoded(self) -> Iterator[Encoded]:
        """Encoded batches in order; the next ones are drawn while these are encoded."""
        encode = encoder_of(self.plan.encoding)
        packets = self._packets if self.plan.marks else None
        assert self.change is not None or not self.plan.transforms
        sign = self._signed if self.plan.c2pa else None
        waiting: deque[Future[Encoded]] = deque()
        work = partial(
            encoded, self.shard, encode=encode, packets=packets, change=self.change, sign=sign
        )
        try:
            for candidates, pixels in self._pieces():
                waiting.append(self.encoders.submit(work, candidates, pixels))
                while waiting and (len(waiting) >= BATCHES_AHEAD or waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _pieces(self) -> Iterator[tuple[Candidates, NDArray[np.uint8]]]:
        """Batches of which no more than one batch of samples becomes: variants are made in pieces,
        which bounds memory and lets the encoders share them."""
        most = max(1, self.plan.engine_batch // self.plan.variants)
        for candidates, pixels in self.accepted():
            yield from candidates.pieces(pixels, most)

    def _packets(self, positions: Iterable[int]) -> list[bytes]:
        first = self.shard.first
        return marks.packets(self.plan.identifier, (first + at for at in positions))

    def _signed(
        self, positions: list[int], candidates: list[int], files: list[bytes]
    ) -> list[bytes]:
        """The files with a manifest each, which names the sample and where it comes from."""
        if self.signing is None:
            raise SigningError(f"A worker has nothing to sign with: {NEEDED}. Then submit again.")
        plan, signed = self.plan, []
        _, variants = self.shard.variants()
        for position, candidate, file in zip(positions, candidates, files, strict=True):
            index = self.shard.first + position
            cell = plan.cells[self.shard.cells[position]]
            model = plan.models[cell.model]
            facts = {
                "sample": marks.identifier(plan.identifier, index),
                "class": plan.classes[cell.label],
                "model": model.ref,
                "model_sha256": model.sha256,
                "seed": plan.seed,
                "shard": self.shard.index,
                "candidate": candidate,
            }
            if plan.variants > 1:
                facts["variant"] = int(variants[position])
            signed.append(self.signing.sign(file, plan.encoding.media_type, facts))
        return signed
