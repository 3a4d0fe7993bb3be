"""Run one shard: what `Drawing` draws → encode → shard file. No database, no torch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.datasets import marks
from app.datasets.encoders import encoder_of
from app.datasets.manifest import RECORD, Layout, Records, SampleRow, as_records, as_rows
from app.datasets.signing import NEEDED, Signing
from app.errors import SigningError
from app.jobs.drawing import Drawing
from app.jobs.encoded import Candidates, Change, Encoded, encoded

BATCHES_AHEAD = 4
"""Batches that may wait for an encoder or the writer: bounds memory, keeps both busy."""


class Members(Protocol):
    """The shard file."""

    def add_all(self, names: list[str], payloads: list[bytes]) -> NDArray[np.int64]:
        """Append files; returns where the bytes of each begin."""


@dataclass(kw_only=True)
class ShardRun(Drawing):
    """One run of one shard; `records` and `refused` are its results."""

    encoders: Executor
    change: Change | None = None
    """Needed where the plan has transforms."""
    signing: Signing | None = None
    """Needed where the plan wants images signed."""
    report: Callable[[int], None]
    """Called with the number of samples so far; raises to stop the run."""
    records: Records = field(default_factory=partial(as_records, ()))
    """Of all samples in order of index, once the run has ended."""
    stored: int = 0
    """Samples that are in the file so far."""
    seconds: float = 0.0
    encoding_seconds: float = 0.0
    """Of processors."""

    @property
    def rows(self) -> list[SampleRow]:
        """`records` one by one."""
        return as_rows(self.records)

    def write(self, members: Members) -> None:
        """Draw every sample of the shard into the file.

        Raises DryClassError when a class can't be filled, and whatever engine or writer raise.
        """
        began = time.perf_counter()
        layout = Layout(self.plan)
        parts = [self.records]
        for batch in self._encoded():
            parts.append(self._store(members, layout, batch))
            self.stored += len(parts[-1])
            self.report(self.stored)
        records = np.concatenate(parts)
        self.records = records[np.argsort(records["index"])]
        self.seconds = time.perf_counter() - began

    def look_up(self) -> None:
        """As of `Drawing`."""
        self.report(self.stored)

    def _store(self, members: Members, layout: Layout, batch: Encoded) -> Records:
        self.encoding_seconds += batch.cpu_seconds
        indices = self.shard.first + batch.positions
        cells = self.shard.cells[batch.positions]
        names = layout.file_names(indices.tolist(), cells.tolist())
        records = np.empty(len(names), RECORD)
        records["index"], records["cell"] = indices, cells
        records["candidate"] = batch.candidates
        records["offset"] = members.add_all(names, batch.payloads)
        records["length"] = np.fromiter(map(len, batch.payloads), np.int64, len(names))
        records["file_sha256"] = batch.file_sha256
        records["pixel_sha256"] = batch.pixel_sha256
        return records

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

    def _packets(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        return marks.packets(self.plan.identifier, self.shard.first + positions)

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
