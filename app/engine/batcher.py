"""Requests of many callers, run as fixed-size batches on one device.

Two lanes: synchronous requests go ahead of jobs. Within the jobs' lane the sources take turns
batch by batch, so no job waits for another one to end. A batch that is not full is filled with
whatever else wants the same model; one that holds synchronous requests only waits a few
milliseconds for more.

A CPU may have several streams: so many batches run at a time, each with its share of the cores.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from app.engine.turns import Item, Kind, Lane, Slice, Turns
from app.errors import ModelUnusableError, OverloadedError
from models.generator import Generator, Pixels

SMALLEST_BATCH = 8


class Arriving(Protocol):
    """Pixels of a batch that a device still computes or copies."""

    def wait(self) -> Pixels:
        """The pixels, once they are there."""


Run = Callable[
    [Generator, NDArray[np.float32], NDArray[np.int64] | None, int, str, float | None],
    Pixels | Arriving,
]
"""One padded batch on the device: (generator, z, labels, batch size, precision, psi) → pixels of
the z given. A device that works by itself gives what arrives later; it gets the next batch before
this one is waited for."""


class _UnderWay(NamedTuple):
    """A batch that the device has been given."""

    slices: list[Slice]
    made: Pixels | Arriving
    began: float


class Batcher:
    """The threads that own a device. `submit` from any thread; close it at the end."""

    def __init__(
        self, run: Run, *, linger_seconds: float, most_waiting: int, streams: int = 1
    ) -> None:
        self._run = run
        self._linger = linger_seconds
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        self._lanes = {lane: Turns() for lane in Lane}
        self._waiting = dict.fromkeys(Lane, 0)
        self._closed = False
        self._threads = [
            threading.Thread(target=self._loop, name=f"device-{number}", daemon=True)
            for number in range(streams)
        ]
        for thread in self._threads:
            thread.start()

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
        item = Item(lane, kind, source, generator, z, labels)
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
            self._changed.notify_all()  # one of them may only linger for another model
        count = len(z)  # not the item: a future that is kept must not keep the generator
        item.future.add_done_callback(lambda _: self._answered(lane, count))
        return item.future

    def close(self) -> None:
        """End the threads; whatever still waits is told so."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        while items := self._all_waiting():
            self._refuse(items, RuntimeError("the worker stops"))

    def _answered(self, lane: Lane, count: int) -> None:
        with self._changed:
            self._waiting[lane] -= count

    def _loop(self) -> None:
        under_way: _UnderWay | None = None
        free_at = 0.0
        while not self._closed:
            under_way, free_at = self._step(under_way, free_at)
        if under_way:
            self._end(under_way, free_at)

    def _step(self, before: _UnderWay | None, free_at: float) -> tuple[_UnderWay | None, float]:
        """Begin the next batch, then end the one before it.

        free_at: when this stream had answered its last batch. A frame of its own, so that nothing
        of a batch is kept while there is no work.
        """
        slices = self._next(may_wait=before is None)
        begun = self._begin(slices) if slices else None
        if before:
            free_at = self._end(before, free_at)
        if begun and isinstance(begun.made, Pixels):
            return None, self._end(begun, free_at)
        return begun, free_at

    def _begin(self, slices: list[Slice]) -> _UnderWay | None:
        """Give the device a batch. None: it has failed already."""
        try:
            began = time.perf_counter()
            return _UnderWay(slices, self._forward(slices), began)
        except BaseException as error:
            self._fail(slices, error)
            return None

    def _end(self, batch: _UnderWay, free_at: float) -> float:
        """Wait for a batch, and answer its requests; when it had ended."""
        try:
            made = batch.made if isinstance(batch.made, Pixels) else batch.made.wait()
            ended = time.perf_counter()
            # Given to the device while it was busy with another batch, it only waited until then.
            seconds = ended - max(batch.began, free_at)
            self._answer(batch.slices, made._replace(seconds=seconds))
        except BaseException as error:
            self._fail(batch.slices, error)
            return time.perf_counter()
        return ended

    def _fail(self, slices: list[Slice], error: BaseException) -> None:
        _let_go(error)
        for piece in slices:  # frames that still run can't be cleared, and hold these
            piece.item.generator = None
        self._refuse([piece.item for piece in slices], error)

    def _next(self, may_wait: bool) -> list[Slice]:
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

    def _gather(self, kind: Kind) -> list[Slice]:
        """Fill a batch of one model: synchronous requests first, then jobs."""
        slices: list[Slice] = []
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

    def _forward(self, slices: list[Slice]) -> Pixels | Arriving:
        first = slices[0].item
        generator = next((g for piece in slices if (g := piece.item.generator) is not None), None)
        if generator is None:  # a batch of another stream took them all down meanwhile
            raise RuntimeError("these requests have failed already")
        z = np.concatenate([piece.item.z[piece.start : piece.stop] for piece in slices])
        labels = None
        if first.labels is not None:
            parts = [_labels(piece)[piece.start : piece.stop] for piece in slices]
            labels = np.concatenate(parts)
        size = _padded_size(slices, len(z))
        return self._run(generator, z, labels, size, first.kind.precision, first.kind.psi)

    def _answer(self, slices: list[Slice], made: Pixels) -> None:
        count = sum(piece.stop - piece.start for piece in slices)
        if len(made.pixels) != count or len(made.finite) != count:
            raise ModelUnusableError(f"{count} images were asked for, {len(made.pixels)} came.")
        at = 0
        for piece in slices:
            item, count = piece.item, piece.stop - piece.start
            cut = slice(at, at + count)
            seconds = made.seconds * count / len(made.pixels)
            at += count
            with self._changed:
                last = item.answer(piece.start, Pixels(made.pixels[cut], made.finite[cut], seconds))
            if last:
                with suppress(InvalidStateError):  # refused already
                    item.future.set_result(item.pixels())

    def _refuse(self, items: list[Item], error: BaseException) -> None:
        with self._changed:
            for item in items:
                for turns in self._lanes.values():
                    turns.drop(item)
        for item in items:
            with suppress(InvalidStateError):  # answered or cancelled already
                item.future.set_exception(error)

    def _all_waiting(self) -> list[Item]:
        with self._changed:
            return [turns.first() for turns in self._lanes.values() if turns]


def _padded_size(slices: list[Slice], count: int) -> int:
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


def _labels(piece: Slice) -> NDArray[np.int64]:
    assert piece.item.labels is not None
    return piece.item.labels
