"""Two lanes, fixed batches, fair turns; every request gets exactly its own answer."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from app.engine.batcher import Arriving, Batcher
from app.engine.turns import Kind, Lane
from app.errors import ModelUnusableError, OverloadedError
from models.generator import Pixels

BATCH = 8


class Device:
    """Counts batches; its images hold the first latent value. It can be held, or broken."""

    def __init__(self) -> None:
        self.batches: list[tuple[Any, list[float]]] = []
        self.open = threading.Event()
        self.open.set()
        self.busy = threading.Event()
        self.broken: list[float] = []
        self.lose = 0

    def __call__(self, generator: Any, z: Any, labels: Any, batch: int, *how: Any) -> Pixels:
        assert 0 < len(z) <= batch
        self.busy.set()
        assert self.open.wait(10)
        values = z[:, 0].tolist()
        self.batches.append((generator, values))
        if set(values) & set(self.broken):
            raise ModelUnusableError("broken")
        pixels = z[: len(z) - self.lose, :1, None, None].astype(np.uint8)
        return Pixels(pixels, np.ones(len(pixels), bool))

    def hold(self) -> None:
        """Let requests gather while a batch runs."""
        self.busy.clear()
        self.open.clear()


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def batcher(device: Device) -> Iterator[Batcher]:
    made = Batcher(device, linger_seconds=0.0, most_waiting=1_000)
    yield made
    device.open.set()
    made.close()


def test_every_request_gets_its_own_images_in_order(batcher: Batcher) -> None:
    with ThreadPoolExecutor(16) as callers:
        wanted = [list(range(first, first + 1 + first % 23)) for first in range(0, 200, 5)]
        made = list(callers.map(lambda values: _values(_submit(batcher, values)), wanted))
    assert made == wanted


def test_what_waits_together_runs_together(batcher: Batcher, device: Device) -> None:
    device.hold()
    first = _submit(batcher, [1])
    device.busy.wait(10)
    rest = [_submit(batcher, [10 + n, 20 + n], source=f"s{n}") for n in range(3)]
    device.open.set()
    assert [_values(future) for future in [first, *rest]] == [[1], [10, 20], [11, 21], [12, 22]]
    assert [len(values) for _, values in device.batches] == [1, 6]


def test_synchronous_requests_go_ahead_of_jobs(batcher: Batcher, device: Device) -> None:
    device.hold()
    running = _submit(batcher, [0], lane=Lane.JOB)
    device.busy.wait(10)
    job = _submit(batcher, list(range(100, 120)), lane=Lane.JOB)
    sync = _submit(batcher, [1, 2, 3])
    device.open.set()
    for future in (running, job, sync):
        future.result(10)
    second = device.batches[1][1]
    assert second[:3] == [1, 2, 3]
    assert second[3:] == [100, 101, 102, 103, 104]  # the job fills what the batch has left


def test_jobs_take_turns_batch_by_batch(batcher: Batcher, device: Device) -> None:
    device.hold()
    running = _submit(batcher, [0], lane=Lane.JOB, source="other")
    device.busy.wait(10)
    large = _submit(batcher, [1] * 5 * BATCH, lane=Lane.JOB, source="large")
    small = _submit(batcher, [2] * BATCH, lane=Lane.JOB, source="small")
    device.open.set()
    for future in (running, large, small):
        future.result(10)
    assert [values[0] for _, values in device.batches] == [0, 1, 2, 1, 1, 1, 1]


def test_models_do_not_share_a_batch(batcher: Batcher, device: Device) -> None:
    device.hold()
    running = _submit(batcher, [0])
    device.busy.wait(10)
    futures = [_submit(batcher, [n], model=f"m{n % 2}", source=f"s{n}") for n in range(1, 7)]
    device.open.set()
    running.result(10)
    assert [_values(future) for future in futures] == [[n] for n in range(1, 7)]
    assert sorted(values for _, values in device.batches[1:]) == [[1, 3, 5], [2, 4, 6]]


def test_a_failed_batch_answers_all_of_its_requests_and_the_next_ones_run(
    batcher: Batcher, device: Device
) -> None:
    device.broken = [5]
    device.hold()
    running = _submit(batcher, [0])
    device.busy.wait(10)
    failing = [_submit(batcher, [4], source="a"), _submit(batcher, [5] * 20, source="b")]
    device.open.set()
    running.result(10)
    for future in failing:
        with pytest.raises(ModelUnusableError):
            future.result(10)
    device.broken = []
    assert _values(_submit(batcher, [6])) == [6]


def test_a_device_that_loses_an_image_is_found_out(batcher: Batcher, device: Device) -> None:
    device.lose = 1
    with pytest.raises(ModelUnusableError, match="2 images were asked for, 1 came"):
        _submit(batcher, [1, 2]).result(10)


def test_a_full_synchronous_lane_refuses_and_jobs_are_not_affected(
    batcher: Batcher, device: Device
) -> None:
    device.hold()
    waiting = _submit(batcher, [n % 200 for n in range(1_000)])
    with pytest.raises(OverloadedError) as refused:
        _submit(batcher, [1])
    assert refused.value.retry_after_seconds == 1
    job = _submit(batcher, [7] * 300, lane=Lane.JOB)
    device.open.set()
    assert _values(waiting) == [n % 200 for n in range(1_000)]
    assert _values(job) == [7] * 300
    assert _values(_submit(batcher, [1])) == [1]


def test_what_was_cancelled_is_not_drawn(batcher: Batcher, device: Device) -> None:
    device.hold()
    running = _submit(batcher, [0])
    device.busy.wait(10)
    futures = [_submit(batcher, [n], source="job") for n in range(1, 5)]
    assert futures[0].cancel()
    assert futures[2].cancel()
    assert not running.cancel()
    device.open.set()
    assert [_values(future) for future in (running, futures[1], futures[3])] == [[0], [2], [4]]
    assert [value for _, values in device.batches for value in values] == [0, 2, 4]


def test_cancelled_samples_make_room_for_others(batcher: Batcher, device: Device) -> None:
    device.hold()
    waiting = _submit(batcher, [n % 200 for n in range(1_000)])
    device.busy.wait(10)
    device.open.set()
    waiting.result(10)
    device.hold()
    running = _submit(batcher, [0])
    device.busy.wait(10)
    full = _submit(batcher, [1] * 999)
    with pytest.raises(OverloadedError):
        _submit(batcher, [2])
    assert full.cancel()
    again = _submit(batcher, [2])
    device.open.set()
    assert _values(running) == [0]
    assert _values(again) == [2]


class Later:
    """A device that works by itself: batches end when they are let, in order."""

    def __init__(self) -> None:
        self.begun: list[list[float]] = []
        self.second = threading.Event()
        self.error: Exception | None = None

    def __call__(self, generator: Any, z: Any, labels: Any, batch: int, *how: Any) -> Arriving:
        self.begun.append(z[:, 0].tolist())
        if len(self.begun) == 2:
            self.second.set()
        return _Batch(self, z)


class _Batch:
    def __init__(self, device: Later, z: Any) -> None:
        self._device, self._z = device, z

    def wait(self) -> Pixels:
        assert self._device.second.wait(10)
        if self._device.error:
            raise self._device.error
        return Pixels(self._z[:, :1, None, None].astype(np.uint8), np.ones(len(self._z), bool))


def test_requests_of_different_psi_share_no_batch(batcher: Batcher, device: Device) -> None:
    device.hold()
    first = _submit(batcher, [1])
    assert device.busy.wait(10)
    asked = ((2, 0.5), (3, 0.7), (4, 0.5))
    waiting = [_submit(batcher, [value], source=f"{value}", psi=psi) for value, psi in asked]
    device.open.set()
    assert [_values(future) for future in (first, *waiting)] == [[1], [2], [3], [4]]
    assert sorted(sorted(values) for _, values in device.batches) == [[1], [2, 4], [3]]


def test_a_device_gets_the_next_batch_before_the_last_one_is_waited_for() -> None:
    device = Later()
    batcher = Batcher(device, linger_seconds=0.0, most_waiting=1_000)
    values = list(range(3 * BATCH))
    future = _submit(batcher, values, lane=Lane.JOB)
    assert _values(future) == values  # `wait` of the first batch asserts it
    assert device.begun == [values[:8], values[8:16], values[16:]]
    alone = _submit(batcher, [7])
    assert _values(alone) == [7]
    batcher.close()


def test_an_error_that_arrives_late_is_the_one_of_its_batch() -> None:
    device = Later()
    batcher = Batcher(device, linger_seconds=0.0, most_waiting=1_000)
    device.error = ModelUnusableError("broken")
    failing = _submit(batcher, list(range(2 * BATCH)), lane=Lane.JOB)
    with pytest.raises(ModelUnusableError, match="broken"):
        failing.result(10)
    device.error = None
    assert _values(_submit(batcher, [3])) == [3]
    batcher.close()


class Weights:
    """Something large that a pass works on."""


def test_an_error_keeps_nothing_of_the_pass_alive() -> None:
    passed: list[weakref.ref[Weights]] = []

    def fail(generator: Any, z: Any, labels: Any, batch: int, *how: Any) -> Pixels:
        activations = Weights()
        passed.append(weakref.ref(activations))
        try:
            raise ValueError(f"{activations}")
        except ValueError as error:
            raise ModelUnusableError("broken") from error

    batcher = Batcher(fail, linger_seconds=0.0, most_waiting=1_000)
    with pytest.raises(ModelUnusableError) as kept:
        _submit(batcher, [1]).result(10)
    batcher.close()
    assert isinstance(kept.value.__cause__, ValueError)
    assert passed[0]() is None


def test_closing_answers_whoever_waits(device: Device) -> None:
    batcher = Batcher(device, linger_seconds=0.0, most_waiting=100)
    device.hold()
    _submit(batcher, [0])
    device.busy.wait(10)
    waiting = [_submit(batcher, [n], source=f"s{n}", model=f"m{n}") for n in range(4)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    while not batcher._closed:
        closing.join(0.01)
    device.open.set()
    closing.join(10)
    for future in waiting:
        with pytest.raises(RuntimeError, match="stops"):
            future.result(10)


def _submit(
    batcher: Batcher,
    values: list[int],
    lane: Lane = Lane.SYNC,
    source: str = "source",
    model: str = "model",
    psi: float | None = None,
) -> Future[Pixels]:
    z = np.array(values, np.float32)[:, None]
    generator: Any = model
    return batcher.submit(lane, source, Kind(model, BATCH, "float32", psi), generator, z, None)


def _values(future: Future[Pixels]) -> list[int]:
    made = future.result(10)
    assert len(made.finite) == len(made.pixels)
    return [int(value) for value in made.pixels[:, 0, 0, 0]]
