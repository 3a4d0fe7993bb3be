"""Requests that wait for a device: two lanes, fair turns within each."""

from __future__ import annotations

from collections import OrderedDict, deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.generator import Generator, Pixels


class Lane(IntEnum):
    """Who is served first."""

    SYNC = 0
    """Somebody waits for the answer."""
    JOB = 1
    """Shards of jobs."""


class Kind(NamedTuple):
    """What requests must have in common to share a batch."""

    model: str
    """SHA-256."""
    batch: int
    """Most samples of a batch, and the padded size of one that holds samples of a job."""
    precision: str
    psi: float | None = None
    """How far styles keep from the mean one; None: as the model's spec says."""


@dataclass(eq=False)
class Item:
    """One request; `done` of its samples are answered, `taken` are answered or under way."""

    lane: Lane
    kind: Kind
    source: str
    generator: Generator | None
    """None once it has failed."""
    z: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    future: Future[Pixels] = field(default_factory=Future)
    parts: dict[int, Pixels] = field(default_factory=dict)
    """Answered samples by the place of their first; several streams answer in any order."""
    taken: int = 0
    done: int = 0

    @property
    def left(self) -> int:
        """Samples that no batch has taken yet."""
        return len(self.z) - self.taken

    def answer(self, start: int, made: Pixels) -> bool:
        """Keep some samples; whether these were the last."""
        self.parts[start] = made
        self.done += len(made.pixels)
        return self.done == len(self.z)

    def pixels(self) -> Pixels:
        """All samples in order."""
        parts = [self.parts[start] for start in sorted(self.parts)]
        if len(parts) == 1:
            return parts[0]
        return Pixels(
            np.concatenate([part.pixels for part in parts]),
            np.concatenate([part.finite for part in parts]),
            sum(part.seconds for part in parts),
        )


@dataclass(frozen=True, slots=True)
class Slice:
    """Some samples of one item in one batch."""

    item: Item
    start: int
    stop: int


class Turns:
    """Items of one lane: sources take turns, a source's own items keep their order."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, deque[Item]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._sources)

    def add(self, item: Item) -> None:
        """Last among its source's items."""
        self._sources.setdefault(item.source, deque()).append(item)

    def first(self) -> Item:
        """The item whose turn it is."""
        return next(iter(self._sources.values()))[0]

    def take(self, kind: Kind, room: int) -> list[Slice]:
        """At most `room` samples of items of this kind; who gave some goes to the end."""
        slices: list[Slice] = []
        for source in list(self._sources):
            items = self._sources[source]
            while room and items and items[0].kind == kind:
                room -= self._cut(items, room, slices)
            if not items:
                del self._sources[source]
            elif slices and slices[-1].item.source == source:
                self._sources.move_to_end(source)
            if not room:
                break
        return slices

    def drop(self, item: Item) -> None:
        """Forget an item that has failed."""
        items = self._sources.get(item.source)
        if items and item in items:
            items.remove(item)
            if not items:
                del self._sources[item.source]

    @staticmethod
    def _cut(items: deque[Item], room: int, slices: list[Slice]) -> int:
        item = items[0]
        if not item.taken and not item.future.set_running_or_notify_cancel():
            items.popleft()
            return 0
        count = min(room, item.left)
        slices.append(Slice(item, item.taken, item.taken + count))
        item.taken += count
        if not item.left:
            items.popleft()
        return count
