"""The engine with real checkpoints: what a sample's pixels depend on, and what it refuses."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.engine import devices
from app.engine.devices import choose_device, environment, share_cores
from app.engine.engine import Engine, Seat
from app.engine.forward import Forward
from app.engine.place import Limits
from app.errors import ConfigurationError, ModelCorruptError, ModelUnusableError
from models.checkpoint import load
from models.errors import CheckpointError
from models.generator import Generator
from models.latents import normal
from models.zoo.catalogue import ShippedModel, shipped
from tests.generators import Broken

BATCH = 32
SHIPPED = shipped()


def never(error: BaseException) -> None:
    raise AssertionError("the device broke") from error


def engine_of(
    loader: Callable[[str], Generator], device: str = "cpu", linger_seconds: float = 0.0
) -> Engine:
    limits = Limits(resident_bytes=1 << 30, linger_seconds=linger_seconds, most_waiting=1000)
    return Engine(torch.device(device), lambda sha, _: loader(sha), Forward(never), limits)


@pytest.fixture(scope="module")
def zoo() -> Iterator[Engine]:
    """An engine that finds the shipped models by their identity."""
    by_content = {model.spec.sha256: model for model in SHIPPED}
    engine = engine_of(lambda sha: load(by_content[sha].spec, by_content[sha].weights_path))
    yield engine
    engine.close()


@pytest.fixture(params=SHIPPED, ids=lambda model: model.spec.name)
def model(request: pytest.FixtureRequest) -> ShippedModel:
    shipped_model: ShippedModel = request.param
    return shipped_model


def inputs(model: ShippedModel, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """Latents and labels of the first candidates."""
    spec = model.spec
    z = normal(seed=7, model=spec.sha256, shard=0, first=0, count=count, size=spec.latent_size)
    return z, np.arange(count) % len(spec.classes) if spec.conditional else None


def part(labels: NDArray[np.int64] | None, rows: slice) -> NDArray[np.int64] | None:
    return None if labels is None else labels[rows]


# What pixels depend on


def test_a_sample_drawn_alone_is_the_one_of_the_batch(zoo: Engine, model: ShippedModel) -> None:
    z, labels = inputs(model, BATCH)
    seat, sha = zoo.for_job("job"), model.spec.sha256
    together = seat.generate(sha, z, labels, BATCH)
    shape = model.spec.image
    assert together.pixels.shape == (BATCH, shape.height, shape.width, shape.channels)
    assert together.pixels.dtype == np.uint8
    assert together.finite.all()
    for k in range(0, BATCH, 5):
        rows = slice(k, k + 1)
        alone = seat.generate(sha, z[rows], part(labels, rows), BATCH)
        assert np.array_equal(alone.pixels, together.pixels[rows])


def test_the_order_in_a_batch_changes_nothing(zoo: Engine, model: ShippedModel) -> None:
    z, labels = inputs(model, 20)
    seat, sha = zoo.for_job("job"), model.spec.sha256
    straight = seat.generate(sha, z, labels, BATCH)
    backwards = seat.generate(sha, z[::-1], part(labels, slice(None, None, -1)), BATCH)
    assert np.array_equal(backwards.pixels[::-1], straight.pixels)


def test_jobs_that_share_batches_get_their_own_images(model: ShippedModel) -> None:
    """Several threads in one batcher: each answer is what it would be alone."""
    engine = engine_of(lambda _: load(model.spec, model.weights_path), linger_seconds=0.01)
    z, labels = inputs(model, 60)
    try:
        expected = engine.for_job("alone").generate(model.spec.sha256, z, labels, BATCH).pixels

        def ask(k: int) -> bool:
            rows = slice(k, k + 7)
            seat = engine.for_job(f"job-{k}")
            made = seat.generate(model.spec.sha256, z[rows], part(labels, rows), BATCH)
            return np.array_equal(made.pixels, expected[rows])

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(0, 53, 3)))
    finally:
        engine.close()


def test_images_differ_and_are_no_flat_grey(zoo: Engine, model: ShippedModel) -> None:
    z, labels = inputs(model, BATCH)
    pixels = zoo.for_job("job").generate(model.spec.sha256, z, labels, BATCH).pixels
    assert len({picture.tobytes() for picture in pixels}) == BATCH
    assert (pixels.reshape(BATCH, -1).std(axis=1) > 5).all()


def test_the_label_decides_what_is_drawn(zoo: Engine) -> None:
    conditional = next(model for model in SHIPPED if model.spec.conditional)
    z, _ = inputs(conditional, 1)
    classes = len(conditional.spec.classes)
    same = np.repeat(z, classes, axis=0)
    seat = zoo.for_job("job")
    pixels = seat.generate(conditional.spec.sha256, same, np.arange(classes), BATCH).pixels
    assert len({picture.tobytes() for picture in pixels}) == classes


# What it refuses


def seat_of(generator: Generator) -> tuple[Engine, Seat]:
    engine = engine_of(lambda _: generator)
    return engine, engine.for_job("job")


def test_values_that_are_not_finite_are_flagged_and_black() -> None:
    engine, seat = seat_of(Broken())
    z = np.zeros((5, 3), np.float32)
    z[:, 0] = [0, 2, 0, -2, 0]
    made = seat.generate("broken", z, None, 8)
    engine.close()
    assert made.finite.tolist() == [True, False, True, False, True]
    assert not made.pixels[~made.finite].any()
    assert (made.pixels[made.finite] == 128).all()  # 0 lies half way from -1 to 1


@pytest.mark.parametrize(
    ("z", "labels"),
    [
        (np.zeros((2, 4), np.float32), None),
        (np.zeros((2, 3), np.float64), None),
        (np.zeros((2, 3), np.float32), np.zeros(2, np.int64)),
    ],
)
def test_inputs_that_do_not_fit_are_named(z: NDArray[np.float32], labels: object) -> None:
    engine, seat = seat_of(Broken())
    with pytest.raises(ModelUnusableError, match="The generator can't do this"):
        seat.generate("broken", z, labels, 8)
    engine.close()


@pytest.mark.parametrize("label", [-1, 10, 2**40])
def test_a_label_out_of_range_is_refused_before_inference(zoo: Engine, label: int) -> None:
    conditional = next(model for model in SHIPPED if model.spec.conditional)
    z, _ = inputs(conditional, 1)
    with pytest.raises(ModelUnusableError):
        zoo.for_job("job").generate(conditional.spec.sha256, z, np.array([label]), BATCH)


def test_psi_for_a_model_that_maps_no_latents_is_refused(zoo: Engine) -> None:
    z, labels = inputs(SHIPPED[0], 1)
    with pytest.raises(ModelUnusableError, match="psi"):
        zoo.for_job("job", psi=0.5).generate(SHIPPED[0].spec.sha256, z, labels, BATCH)


def test_a_generator_that_loses_an_image_is_unusable() -> None:
    engine, seat = seat_of(Broken(wrong_shape=True))
    with pytest.raises(ModelUnusableError):
        seat.generate("broken", np.zeros((3, 3), np.float32), None, 8)
    engine.close()


class Held(Broken):
    """Runs no batch before it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.running, self.let = threading.Event(), threading.Event()

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        self.running.set()
        assert self.let.wait(30)
        return super().forward(z, labels)


def test_what_can_never_run_does_not_wait_for_the_device() -> None:
    """So it can't take down a batch that it would share with others."""
    generator = Held()
    engine, seat = seat_of(generator)
    z = np.zeros((2, 3), np.float32)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(seat.generate, "held", z, None, 8)
        assert generator.running.wait(30)
        second = pool.submit(seat.generate, "held", z, None, 8)
        with pytest.raises(ModelUnusableError):
            seat.generate("held", z, np.zeros(2, np.int64), 8)
        generator.let.set()
        assert first.result(30).finite.all()
        assert second.result(30).finite.all()
    engine.close()


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit": flipped,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "another format": lambda path: path.write_bytes(b"\x80\x04" * (path.stat().st_size // 2)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weights_are_named_and_can_be_put_right(damage: str, tmp_path: Path) -> None:
    shipped_model = SHIPPED[0]
    weights = Path(shutil.copy(shipped_model.weights_path, tmp_path / "weights.safetensors"))
    DAMAGE[damage](weights)
    engine = engine_of(lambda _: load(shipped_model.spec, weights))
    seat, sha = engine.for_job("job"), shipped_model.spec.sha256
    z, labels = inputs(shipped_model, 1)
    for attempt in (lambda: seat.latent_size(sha), lambda: seat.generate(sha, z, labels, BATCH)):
        with pytest.raises(ModelCorruptError, match="Register it") as refusal:
            attempt()
        assert isinstance(refusal.value.__cause__, CheckpointError)
        assert str(tmp_path) not in refusal.value.detail
    if weights.is_dir():
        weights.rmdir()
    shutil.copy(shipped_model.weights_path, weights)
    assert seat.latent_size(sha) == shipped_model.spec.latent_size
    engine.close()


# Devices


@dataclasses.dataclass
class Machine:
    """Which devices torch claims to find."""

    cuda: bool = False
    mps: bool = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: self.cuda)
        monkeypatch.setattr(devices.torch.backends.mps, "is_available", lambda: self.mps)


@pytest.mark.parametrize(
    ("machine", "choice", "chosen"),
    [
        (Machine(), "auto", "cpu"),
        (Machine(cuda=True), "auto", "cuda"),
        (Machine(mps=True), "auto", "mps"),
        (Machine(cuda=True, mps=True), "auto", "cuda"),
        (Machine(cuda=True), "cpu", "cpu"),
        (Machine(cuda=True), "cuda", "cuda"),
        (Machine(mps=True), "mps", "mps"),
    ],
)
def test_the_device_is_chosen(
    machine: Machine, choice: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.install(monkeypatch)
    assert choose_device(choice).type == chosen


@pytest.mark.parametrize("choice", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_no_silent_fallback(
    choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Machine().install(monkeypatch)
    with pytest.raises(ConfigurationError, match=f"SYNTHLOOM_DEVICE={choice}"):
        choose_device(choice)


def test_the_environment_says_what_pixels_may_depend_on() -> None:
    found = environment(torch.device("cpu"))
    assert found["device"] == "cpu"
    assert found["torch"] == torch.__version__
    names = ("device_name", "machine", "python", "numpy", "onnxruntime")
    assert all(found[name] for name in names)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_gpu_draws_what_the_cpu_draws(zoo: Engine, model: ShippedModel) -> None:
    """Floating point differs in the last bits, so a level here and there, never a picture."""
    gpu = engine_of(lambda _: load(model.spec, model.weights_path, "cuda"), "cuda")
    z, labels = inputs(model, BATCH)
    sha = model.spec.sha256
    try:
        made = gpu.for_job("job").generate(sha, z, labels, BATCH)
        again = gpu.for_job("job").generate(sha, z[:1], part(labels, slice(0, 1)), BATCH)
    finally:
        gpu.close()
    expected = zoo.for_job("job").generate(sha, z, labels, BATCH)
    assert made.finite.all()
    assert np.abs(made.pixels.astype(int) - expected.pixels.astype(int)).max() <= 2
    assert np.array_equal(again.pixels, made.pixels[:1])


@pytest.mark.parametrize(
    ("cores", "asked", "streams", "threads"),
    [(8, 2, 2, 4), (5, 2, 2, 2), (2, 4, 2, 1), (1, 2, 1, 1)],
)
def test_streams_share_the_cores(cores: int, asked: int, streams: int, threads: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(cores)
        assert share_cores(asked) == streams
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
