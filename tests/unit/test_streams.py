"""Several batches of one device at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from app.engine.batcher import Batcher
from app.engine.turns import Kind, Lane
from app.errors import ModelUnusableError
from models.generator import Pixels

BATCH = 4


class Device:
    """Images hold the latent. A batch whose first latent is in `gates` ends when its gate opens."""

    def __init__(self) -> None:
        self.gates: dict[int, threading.Event] = {}
        self.broken: set[int] = set()
        self.begun = threading.Semaphore(0)

    def __call__(self, generator: Any, z: Any, labels: Any, batch: int, *how: Any) -> Pixels:
        first = int(z[0, 0])
        self.begun.release()
        if first in self.gates:
            assert self.gates[first].wait(10)
        if first in self.broken:
            raise ModelUnusableError(f"broken at {first}")
        return Pixels(z[:, :1, None, None].astype(np.uint8), np.ones(len(z), bool))


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def batcher(device: Device) -> Iterator[Batcher]:
    made = Batcher(device, linger_seconds=0.0, most_waiting=1_000, streams=2)
    yield made
    for gate in device.gates.values():
        gate.set()
    made.close()


def test_two_batches_run_at_the_same_time(batcher: Batcher, device: Device) -> None:
    device.gates = {0: threading.Event(), 4: threading.Event()}
    future = _submit(batcher, range(8))
    for _ in range(2):  # neither has ended
        assert device.begun.acquire(timeout=10)
    assert not future.done()
    for gate in device.gates.values():
        gate.set()
    assert _values(future) == list(range(8))


def test_images_keep_their_order_when_a_later_batch_ends_first(
    batcher: Batcher, device: Device
) -> None:
    device.gates = {0: threading.Event()}
    future = _submit(batcher, range(12))
    ahead = _submit(batcher, [200])  # the other stream has gone through the rest by then
    assert _values(ahead) == [200]
    assert not future.done()
    device.gates[0].set()
    assert _values(future) == list(range(12))


def test_a_waiting_request_does_not_wait_for_a_batch_of_a_job(
    batcher: Batcher, device: Device
) -> None:
    device.gates = {0: threading.Event()}
    job = _submit(batcher, range(BATCH), Lane.JOB)
    assert device.begun.acquire(timeout=10)
    assert _values(_submit(batcher, [9])) == [9]
    assert not job.done()


def test_a_batch_that_fails_takes_no_other_request_of_the_other_stream_down(
    batcher: Batcher, device: Device
) -> None:
    device.gates = {0: threading.Event(), 8: threading.Event()}
    device.broken = {0}
    failing = _submit(batcher, range(BATCH), source="a")
    going_on = _submit(batcher, range(8, 8 + 3 * BATCH), source="b")
    for _ in range(2):
        assert device.begun.acquire(timeout=10)
    device.gates[0].set()
    with pytest.raises(ModelUnusableError, match="broken at 0"):
        failing.result(10)
    device.gates[8].set()
    assert _values(going_on) == list(range(8, 20))


def test_a_request_whose_one_batch_fails_while_another_runs_fails_once(
    batcher: Batcher, device: Device
) -> None:
    device.gates = {0: threading.Event(), 4: threading.Event()}
    device.broken = {4}
    failing = _submit(batcher, range(40))
    for _ in range(2):
        assert device.begun.acquire(timeout=10)
    device.gates[4].set()
    with pytest.raises(ModelUnusableError, match="broken at 4"):
        failing.result(10)
    device.gates[0].set()
    assert _values(_submit(batcher, [7])) == [7]


def test_many_callers_get_their_own_images(batcher: Batcher) -> None:
    with ThreadPoolExecutor(16) as callers:
        wanted = [list(range(first, first + 1 + first % 23)) for first in range(0, 230, 2)]
        made = list(callers.map(lambda values: _values(_submit(batcher, values)), wanted))
    assert made == wanted


def _submit(
    batcher: Batcher, values: Any, lane: Lane = Lane.SYNC, source: str = "source"
) -> Future[Pixels]:
    z = np.array(list(values), np.float32)[:, None]
    generator: Any = "generator"
    return batcher.submit(lane, source, Kind("model", BATCH, "float32"), generator, z, None)


def _values(future: Future[Pixels]) -> list[int]:
    made = future.result(10)
    return [int(value) for value in made.pixels[:, 0, 0, 0]]
