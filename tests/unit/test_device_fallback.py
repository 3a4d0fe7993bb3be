"""A model without room on the device runs on the CPU, which is recorded, and comes back."""

from __future__ import annotations

import gc
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.engine.engine import RETRY_SECONDS, Engine
from app.engine.forward import Forward
from app.engine.place import Limits
from app.errors import DeviceMemoryError, ModelUnusableError
from models.generator import Generator, Pixels
from tests.generators import Broken

DEVICE = torch.device("meta")
"""Stands for a GPU: a device that is not the CPU, and there on every machine."""
Z = np.zeros((2, 3), np.float32)


class Small(Broken):
    """A generator that knows which device it was loaded onto."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.place = device


class Gpu:
    """A device with room for so many generators, and for batches of so many images."""

    def __init__(self) -> None:
        self.room = 1_000
        self.largest_batch = 1_000
        self.now = 0.0
        self.loads: Counter[tuple[str, str]] = Counter()
        self.batches: Counter[str] = Counter()
        self.held: list[weakref.ref[Small]] = []

    def load(self, sha256: str, device: torch.device) -> Generator:
        self.loads[sha256, device.type] += 1
        if device == DEVICE and len(self.alive(DEVICE)) >= self.room:
            raise torch.OutOfMemoryError("out of memory")
        generator = Small(device)
        self.held.append(weakref.ref(generator))
        return generator

    def run(
        self, generator: Generator, z: NDArray[np.float32], labels: object, *_: object
    ) -> Pixels:
        assert isinstance(generator, Small)
        self.batches[generator.place.type] += 1
        if generator.place == DEVICE and len(z) > self.largest_batch:
            raise DeviceMemoryError("Not one image fits.")
        shade = 200 if generator.place == DEVICE else 100
        return Pixels(np.full((len(z), 4, 4, 1), shade, np.uint8), np.ones(len(z), bool))

    def alive(self, device: torch.device) -> list[Small]:
        found = [generator for generator in (held() for held in self.held) if generator]
        return [generator for generator in found if generator.place == device]

    def engine(self, device: torch.device = DEVICE) -> Engine:
        limits = Limits(resident_bytes=1 << 20, linger_seconds=0.0, most_waiting=100)
        return Engine(device, self.load, self.run, limits, lambda: self.now)


@pytest.fixture
def gpu() -> Gpu:
    return Gpu()


@pytest.fixture
def engine(gpu: Gpu) -> Iterator[Engine]:
    made = gpu.engine()
    yield made
    made.close()


def test_models_that_nobody_uses_make_room_first(gpu: Gpu, engine: Engine) -> None:
    gpu.room = 1
    for model in ("a", "b", "a"):
        seat = engine.for_job("job")
        assert (seat.generate(model, Z, None, 8).pixels == 200).all()
        assert seat.environment["device"] == "meta"
    assert engine.resident == ["a"]
    assert not engine.on_cpu
    assert gpu.loads["a", "meta"] == 3  # at the start; without room; with it


def test_a_model_that_has_no_room_runs_on_the_cpu_and_is_recorded(
    gpu: Gpu, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.room = 0
    seat = engine.for_job("job")
    assert seat.environment["device"] == "meta"
    assert seat.latent_size("a" * 64) == 3
    assert (seat.generate("a" * 64, Z, None, 8).pixels == 100).all()
    assert seat.environment["device"] == "cpu"
    assert engine.environment["device"] == "meta"
    assert engine.on_cpu == ["a" * 64]
    assert "aaaaaaaaaaaa… has no room on meta: it runs on the CPU" in caplog.text
    seat.generate("a" * 64, Z, None, 8)
    assert gpu.loads["a" * 64, "meta"] == 2  # the first try, and the one with all others gone


def test_the_device_is_tried_again_after_a_while(gpu: Gpu, engine: Engine) -> None:
    gpu.room = 0
    assert (engine.for_job("job").generate("a", Z, None, 8).pixels == 100).all()
    gpu.room = 1
    gpu.now = RETRY_SECONDS - 1
    assert (engine.for_job("job").generate("a", Z, None, 8).pixels == 100).all()
    gpu.now = RETRY_SECONDS
    seat = engine.for_job("job")
    assert (seat.generate("a", Z, None, 8).pixels == 200).all()
    assert seat.environment["device"] == "meta"
    assert not engine.on_cpu


def test_a_batch_without_room_runs_on_the_cpu(gpu: Gpu, engine: Engine) -> None:
    gpu.largest_batch = 1
    seat = engine.for_job("job")
    assert (seat.generate("a", Z[:1], None, 8).pixels == 200).all()
    assert (seat.generate("a", Z, None, 8).pixels == 100).all()
    assert seat.environment["device"] == "meta + cpu"
    assert seat.environment["torch"] == str(torch.__version__)
    assert gpu.batches == {"meta": 3, "cpu": 1}  # once more, after the idle models had left


def test_many_batches_without_room_are_all_answered(gpu: Gpu, engine: Engine) -> None:
    gpu.largest_batch = 0
    seat = engine.for_job("job")
    futures = [seat.submit("a", Z, None, 8) for _ in range(50)]
    assert all((future.result(10).pixels == 100).all() for future in futures)
    assert seat.environment["device"] == "cpu"


def test_other_models_stay_on_the_device(gpu: Gpu, engine: Engine) -> None:
    gpu.room = 1
    job = engine.for_job("job")
    with engine._own.residents.use("large"):
        assert (job.generate("small", Z, None, 8).pixels == 100).all()
        other = engine.for_job("other")
        assert (other.generate("large", Z, None, 8).pixels == 200).all()
    assert engine.on_cpu == ["small"]


def test_the_cpu_itself_has_no_fallback(gpu: Gpu) -> None:
    def no_room(*_: object) -> Pixels:
        raise DeviceMemoryError("Not one image fits.")

    limits = Limits(resident_bytes=1 << 20, linger_seconds=0.0, most_waiting=100)
    engine = Engine(torch.device("cpu"), gpu.load, no_room, limits)
    with pytest.raises(DeviceMemoryError):
        engine.for_job("job").generate("a", Z, None, 8)
    assert not engine.on_cpu
    engine.close()


# What is kept alive


def cpu_engine(load: Callable[[str], Generator], budget: int = 1) -> Engine:
    def never(error: BaseException) -> None:
        raise AssertionError from error

    limits = Limits(resident_bytes=budget, linger_seconds=0.0, most_waiting=100)
    return Engine(torch.device("cpu"), lambda sha, _: load(sha), Forward(never), limits)


@pytest.mark.parametrize("wrong_shape", [False, True], ids=["after success", "after an error"])
def test_a_model_that_left_is_collected(wrong_shape: bool) -> None:
    """Whatever the batch gave, and although its answer, or its error, is still held."""
    left: list[weakref.ref[Generator]] = []

    def load(_: str) -> Generator:
        generator = Broken(wrong_shape)
        left.append(weakref.ref(generator))
        return generator

    engine = cpu_engine(load)
    future = engine.for_job("job").submit("a", Z, None, 8)
    error = future.exception(10)
    assert isinstance(error, ModelUnusableError) == wrong_shape
    engine.for_job("job").submit("b", Z, None, 8).exception(10)
    assert engine.resident == []
    gc.collect()  # what other threads were about to let go
    assert left[0]() is None
    engine.close()


def test_an_error_that_holds_the_model_in_a_cycle_does_not_keep_it() -> None:
    gc.disable()
    try:
        left: list[weakref.ref[Generator]] = []

        def load(_: str) -> Generator:
            generator = Broken()
            left.append(weakref.ref(generator))
            generator.cycle = [generator]  # as an error and the frames that raised it
            return generator

        engine = cpu_engine(load)
        assert engine.latent_size("a") == 3
        assert engine.latent_size("b") == 3
        assert engine.resident == []
        assert left[0]() is None
        engine.close()
    finally:
        gc.enable()


def test_what_nobody_wants_any_more_lets_its_model_go() -> None:
    running, go = threading.Event(), threading.Event()

    def hold(generator: Generator, z: NDArray[np.float32], *_: object) -> Pixels:
        running.set()
        assert go.wait(10)
        return Pixels(np.zeros((len(z), 4, 4, 1), np.uint8), np.ones(len(z), bool))

    limits = Limits(resident_bytes=1, linger_seconds=0.0, most_waiting=100)
    engine = Engine(torch.device("cpu"), lambda *_: Broken(), hold, limits)
    seat = engine.for_job("job")
    first = seat.submit("a", Z, None, 8)
    assert running.wait(10)
    waiting = [seat.submit("b", Z, None, 8) for _ in range(3)]
    assert engine.resident == ["a", "b"]
    assert all(future.cancel() for future in waiting)
    assert engine.resident == ["a"]
    go.set()
    assert first.result(10).finite.all()
    engine.close()
    assert engine.resident == []
