"""Copies to and from a device: what crosses, in which order, and who waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from app.engine.forward import Forward
from app.engine.transfer import CudaTransfer, PlainTransfer, transfer_of
from models.generator import Levels, Pixels, to_levels
from tests.generators import Broken

CPU = torch.device("cpu")


class Stream:
    """A queue of the device that runs nothing by itself."""

    def __init__(self, cuda: FakeCuda, name: str) -> None:
        self._cuda, self._name = cuda, name

    def wait_stream(self, other: Stream) -> None:
        self._cuda.log.append(f"{self._name} waits for {other._name}")


class FakeCuda:
    """`torch.cuda` as far as transfers need it, on a machine without one."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.default = Stream(self, "compute")

    def Stream(self, device: torch.device) -> Stream:  # noqa: N802 - the name of torch
        return Stream(self, "copies")

    def current_stream(self, device: torch.device) -> Stream:
        return self.default

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        self.log.append(f"on {stream._name}")
        yield
        self.log.append("on compute")

    def Event(self, blocking: bool) -> FakeEvent:  # noqa: N802 - the name of torch
        return FakeEvent(self, blocking)


class FakeEvent:
    """An event that is reached when somebody waits for it."""

    def __init__(self, cuda: FakeCuda, blocking: bool) -> None:
        assert blocking
        self._cuda = cuda
        self.error: Exception | None = None

    def record(self, stream: Stream) -> None:
        self._cuda.log.append(f"event on {stream._name}")

    def synchronize(self) -> None:
        self._cuda.log.append("wait")


class Copies(CudaTransfer):
    """Its pinned memory is plain memory; the types that are asked for are noted."""

    def __init__(self, cuda: FakeCuda) -> None:
        super().__init__(CPU, cuda)
        self.pinned: list[tuple[tuple[int, ...], torch.dtype]] = []

    def _pinned(self, shape: Any, dtype: torch.dtype) -> Tensor:
        self.pinned.append((tuple(shape), dtype))
        return torch.zeros(tuple(shape), dtype=dtype)


@pytest.fixture(autouse=True)
def no_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the CPU know no streams."""
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None)


def levels(count: int, first: int = 0) -> Levels:
    images = torch.arange(first, first + count, dtype=torch.float32)[:, None, None, None]
    images = images.expand(count, 3, 4, 5).clone()
    images[1::3] = torch.nan
    return to_levels(images, (0.0, 255.0))


def test_the_cpu_copies_nothing() -> None:
    z = np.ones((3, 2), np.float32)
    transfer = transfer_of(CPU)
    assert isinstance(transfer, PlainTransfer)
    assert transfer.load(z).data_ptr() == z.ctypes.data
    part = levels(4)
    made = transfer.unload([part], 4)
    assert isinstance(made, Pixels)
    assert made.pixels.ctypes.data == part.pixels.data_ptr()


@pytest.mark.parametrize("sizes", [[8], [4, 4], [3, 3, 3]])
def test_both_ways_of_copying_give_the_same(sizes: list[int]) -> None:
    parts = [levels(size, 10 * k) for k, size in enumerate(sizes)]
    cuda = FakeCuda()
    plain = PlainTransfer(CPU).unload(parts, 7)
    made = Copies(cuda).unload(parts, 7).wait()
    assert isinstance(plain, Pixels)
    assert np.array_equal(made.pixels, plain.pixels)
    assert np.array_equal(made.finite, plain.finite)
    assert made.pixels.shape == (7, 4, 5, 3)


def test_only_bytes_and_flags_come_back_and_one_event_is_waited_for() -> None:
    cuda = FakeCuda()
    copies = Copies(cuda)
    arriving = copies.unload([levels(4), levels(4)], 8)
    assert copies.pinned == [((8, 4, 5, 3), torch.uint8), ((8,), torch.bool)]
    launched = ["copies waits for compute", "on copies", "on compute", "event on copies"]
    assert cuda.log == launched  # nobody has waited yet
    arriving.wait()
    assert cuda.log == [*launched, "wait"]


def test_latents_go_through_pinned_memory_with_their_type() -> None:
    copies = Copies(FakeCuda())
    z = np.linspace(0, 1, 6, dtype=np.float32).reshape(3, 2)
    labels = np.array([1, 2, 3], np.int64)
    assert np.array_equal(copies.load(z).numpy(), z)
    assert np.array_equal(copies.load(labels).numpy(), labels)
    assert copies.pinned == [((3, 2), torch.float32), ((3,), torch.int64)]


def test_a_kernel_that_fails_later_ends_the_worker() -> None:
    """A device-side assert shows when its batch is waited for."""
    reported: list[BaseException] = []
    error = torch.AcceleratorError("device-side assert triggered")

    class Fails(FakeEvent):
        def synchronize(self) -> None:
            raise error

    cuda = FakeCuda()
    cuda.Event = lambda blocking: Fails(cuda, blocking)  # type: ignore[method-assign]
    forward = Forward(reported.append, lambda _: Copies(cuda))
    arriving = forward(Broken(), np.zeros((2, 3), np.float32), None, 8)
    assert not reported
    with pytest.raises(torch.AcceleratorError):
        arriving.wait()
    assert reported == [error]


def test_a_batch_gives_what_was_asked_for_without_its_padding() -> None:
    forward = Forward(lambda _: None, lambda _: Copies(FakeCuda()))
    z = np.zeros((5, 3), np.float32)
    z[1, 0] = 2.0
    made = forward(Broken(), z, None, 8).wait()
    assert made.finite.tolist() == [True, False, True, True, True]
    assert made.pixels.shape == (5, 4, 4, 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_gpu_returns_what_it_was_given() -> None:
    device = torch.device("cuda")
    transfer = transfer_of(device)
    z = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
    on_device = transfer.load(z)
    assert on_device.device.type == "cuda"
    assert np.array_equal(on_device.cpu().numpy(), z)
    parts = [levels(40), levels(40, 40)]
    moved = [Levels(part.pixels.to(device), part.finite.to(device)) for part in parts]
    made = transfer.unload(moved, 70).wait()
    expected = PlainTransfer(CPU).unload(parts, 70)
    assert np.array_equal(made.pixels, expected.pixels)
    assert np.array_equal(made.finite, expected.finite)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_batches_that_overlap_on_a_gpu_keep_their_images() -> None:
    """Memory that is copied out of must not be reused by the batch behind."""
    device = torch.device("cuda")
    transfer = transfer_of(device)
    arriving = []
    for k in range(50):
        images = torch.full((64, 3, 64, 64), float(k), device=device)
        arriving.append(transfer.unload([to_levels(images, (0.0, 255.0))], 64))
    for k, batch in enumerate(arriving):
        assert (batch.wait().pixels == k).all()
