"""Requests of many callers, run as fixed-size batches on one device.

Two lanes: synchronous requests go ahead of jobs. Within the jobs' lane the sources take turns
batch by batch, so no job waits for another one to end. A batch that is not full is filled with
whatever else wants the same model; one that holds synchronous requests only waits a few
milliseconds for more.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from app.errors import ModelUnusableError, OverloadedError
from models.generator import Generator, Pixels

SMALLEST_BATCH = 8


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


class Arriving(Protocol):
    """Pixels of a batch that a device still computes or copies."""

    def wait(self) -> Pixels:
        """The pixels, once they are there."""


Run = Callable[
    [Generator, NDArray[np.float32], NDArray[np.int64] | None, int, str], Pixels | Arriving
]
"""One padded batch on the device: (generator, z, labels, batch size, precision) → pixels of the
z given. A device that works by itself gives what arrives later; it gets the next batch before
this one is waited for."""


@dataclass(eq=False)
class _Item:
    """One request; `done` of its samples are answered, `taken` are answered or under way."""

    lane: Lane
    kind: Kind
    source: str
    generator: Generator | None
    """None once it has failed."""
    z: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    future: Future[Pixels] = field(default_factory=Future)
    parts: list[Pixels] = field(default_factory=list)
    taken: int = 0
    done: int = 0

    @property
    def left(self) -> int:
        """Samples that no batch has taken yet."""
        return len(self.z) - self.taken


@dataclass(frozen=True, slots=True)
class _Slice:
    """Some samples of one item in one batch."""

    item: _Item
    start: int
    stop: int


class _UnderWay(NamedTuple):
    """A batch that the device has been given."""

    slices: list[_Slice]
    made: Pixels | Arriving
    began: float


class _Turns:
    """Items of one lane: sources take turns, a source's own items keep their order."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, deque[_Item]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._sources)

    def add(self, item: _Item) -> None:
        """Last among its source's items."""
        self._sources.setdefault(item.source, deque()).append(item)

    def first(self) -> _Item:
        """The item whose turn it is."""
        return next(iter(self._sources.values()))[0]

    def take(self, kind: Kind, room: int) -> list[_Slice]:
        """At most `room` samples of items of this kind; who gave some goes to the end."""
        slices: list[_Slice] = []
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

    def drop(self, item: _Item) -> None:
        """Forget an item that has failed."""
        items = self._sources.get(item.source)
        if items and item in items:
            items.remove(item)
            if not items:
                del self._sources[item.source]

    @staticmethod
    def _cut(items: deque[_Item], room: int, slices: list[_Slice]) -> int:
        item = items[0]
        if not item.taken and not item.future.set_running_or_notify_cancel():
            items.popleft()
            return 0
        count = min(room, item.left)
        slices.append(_Slice(item, item.taken, item.taken + count))
        item.taken += count
        if not item.left:
            items.popleft()
        return count


class Batcher:
    """One thread that owns the device. `submit` from any thread; close it at the end."""

    def __init__(self, run: Run, *, linger_seconds: float, most_waiting: int) -> None:
        self._run = run
        self._linger = linger_seconds
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        self._lanes = {lane: _Turns() for lane in Lane}
        self._waiting = dict.fromkeys(Lane, 0)
        self._closed = False
        self._free_at = 0.0
        """When the device had answered its last batch."""
        self._thread = threading.Thread(target=self._loop, name="device", daemon=True)
        self._thread.start()

    def submit(
        self,
        lane: Lane,
        source: str,
        kind: Kind,
        generator: Generator,
        z: NDArray[np.float32],
        labels: NDArray[np.int64] | None,
    ) -> Future[Pixels]:
        """Queue latents; the future holds the pixels of all of them, in order.

        source: who takes turns, e.g. the job.
        Raises OverloadedError when the synchronous lane is full.
        """
        item = _Item(lane, kind, source, generator, z, labels)
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            if lane is Lane.SYNC and self._waiting[lane] + len(z) > self._most_waiting:
                raise OverloadedError(
                    "More samples are waiting than this worker takes. Try again in a second.",
                    retry_after_seconds=1,
                )
            self._waiting[lane] += len(z)
            self._lanes[lane].add(item)
            self._changed.notify()
        count = len(z)  # not the item: a future that is kept must not keep the generator
        item.future.add_done_callback(lambda _: self._answered(lane, count))
        return item.future

    def close(self) -> None:
        """End the thread; whatever still waits is told so."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _answered(self, lane: Lane, count: int) -> None:
        with self._changed:
            self._waiting[lane] -= count

    def _loop(self) -> None:
        under_way: _UnderWay | None = None
        while not self._closed:
            under_way = self._step(under_way)
        if under_way:
            self._end(under_way)
        while items := self._all_waiting():
            self._refuse(items, RuntimeError("the worker stops"))

    def _step(self, before: _UnderWay | None) -> _UnderWay | None:
        """Begin the next batch, then end the one before it.

        A frame of its own, so that nothing of a batch is kept while there is no work.
        """
        slices = self._next(may_wait=before is None)
        begun = self._begin(slices) if slices else None
        if before:
            self._end(before)
        return begun

    def _begin(self, slices: list[_Slice]) -> _UnderWay | None:
        """Give the device a batch. None: it is answered already."""
        try:
            began = time.perf_counter()
            batch = _UnderWay(slices, self._forward(slices), began)
        except BaseException as error:
            self._fail(slices, error)
            return None
        if isinstance(batch.made, Pixels):
            self._end(batch)
            return None
        return batch

    def _end(self, batch: _UnderWay) -> None:
        """Wait for a batch, and answer its requests."""
        try:
            made = batch.made if isinstance(batch.made, Pixels) else batch.made.wait()
            ended = time.perf_counter()
            # Given to the device while it was busy with another batch, it only waited until then.
            seconds = ended - max(batch.began, self._free_at)
            self._free_at = ended
            self._answer(batch.slices, made._replace(seconds=seconds))
        except BaseException as error:
            self._fail(batch.slices, error)

    def _fail(self, slices: list[_Slice], error: BaseException) -> None:
        _let_go(error)
        for piece in slices:  # frames that still run can't be cleared, and hold these
            piece.item.generator = None
        self._refuse([piece.item for piece in slices], error)

    def _next(self, may_wait: bool) -> list[_Slice]:
        """The next batch; an empty one when there is none, and when the batcher is closed."""
        with self._changed:
            while not self._closed:
                if self._lanes[Lane.SYNC]:
                    return self._gather(self._lanes[Lane.SYNC].first().kind)
                if self._lanes[Lane.JOB]:
                    return self._gather(self._lanes[Lane.JOB].first().kind)
                if not may_wait:
                    break
                self._changed.wait()
        return []

    def _gather(self, kind: Kind) -> list[_Slice]:
        """Fill a batch of one model: synchronous requests first, then jobs."""
        slices: list[_Slice] = []
        deadline = time.monotonic() + self._linger
        while True:
            room = kind.batch - sum(piece.stop - piece.start for piece in slices)
            for lane in Lane:
                taken = self._lanes[lane].take(kind, room)
                room -= sum(piece.stop - piece.start for piece in taken)
                slices += taken
            pause = deadline - time.monotonic()
            if not room or pause <= 0 or self._closed or self._work_for_others(kind):
                return slices
            self._changed.wait(pause)

    def _work_for_others(self, kind: Kind) -> bool:
        """Whether waiting for more of one model would keep another one waiting."""
        return any(turns and turns.first().kind != kind for turns in self._lanes.values())

    def _forward(self, slices: list[_Slice]) -> Pixels | Arriving:
        first = slices[0].item
        assert first.generator is not None
        z = np.concatenate([piece.item.z[piece.start : piece.stop] for piece in slices])
        labels = None
        if first.labels is not None:
            parts = [_labels(piece)[piece.start : piece.stop] for piece in slices]
            labels = np.concatenate(parts)
        size = _padded_size(slices, len(z))
        return self._run(first.generator, z, labels, size, first.kind.precision)

    def _answer(self, slices: list[_Slice], made: Pixels) -> None:
        count = sum(piece.stop - piece.start for piece in slices)
        if len(made.pixels) != count or len(made.finite) != count:
            raise ModelUnusableError(f"{count} images were asked for, {len(made.pixels)} came.")
        at = 0
        for piece in slices:
            count = piece.stop - piece.start
            item = piece.item
            cut = slice(at, at + count)
            seconds = made.seconds * count / len(made.pixels)
            item.parts.append(Pixels(made.pixels[cut], made.finite[cut], seconds))
            item.done += count
            at += count
            if item.done == len(item.z) and not item.future.done():
                item.future.set_result(_joined(item.parts))

    def _refuse(self, items: list[_Item], error: BaseException) -> None:
        with self._changed:
            for item in items:
                for turns in self._lanes.values():
                    turns.drop(item)
        for item in items:
            with suppress(InvalidStateError):  # answered or cancelled already
                item.future.set_exception(error)

    def _all_waiting(self) -> list[_Item]:
        with self._changed:
            return [turns.first() for turns in self._lanes.values() if turns]


def _padded_size(slices: list[_Slice], count: int) -> int:
    """A batch with samples of a job has the size of the job's plan, as its pixels depend on it.

    One of waiting requests only is padded to a power of two: few shapes, and nobody waits for
    hundreds of images where three were asked for.
    """
    size = slices[0].item.kind.batch
    if any(piece.item.lane is Lane.JOB for piece in slices):
        return size
    return min(size, max(SMALLEST_BATCH, 1 << (count - 1).bit_length()))


def _let_go(error: BaseException) -> None:
    """Whoever keeps an error must not keep tensors of its pass, nor a model that has left."""
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__


def _labels(piece: _Slice) -> NDArray[np.int64]:
    assert piece.item.labels is not None
    return piece.item.labels


def _joined(parts: list[Pixels]) -> Pixels:
    if len(parts) == 1:
        return parts[0]
    return Pixels(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.finite for part in parts]),
        sum(part.seconds for part in parts),
    )
