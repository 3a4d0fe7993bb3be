"""Latents to a device, and pixels back: the only bytes that cross the bus.

CUDA copies beside its computation if the memory of the host is pinned, and only then. What comes
back goes through a stream of its own, so that it does not wait for the batch that was launched
after it, nor that batch for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.engine.batcher import Arriving
from models.generator import Levels, Pixels, as_tensor


class Transfer(Protocol):
    """How arrays get to one device and back."""

    def load(self, values: NDArray[Any]) -> Tensor:
        """The array on the device, with its type and shape."""

    def unload(self, parts: Sequence[Levels], count: int) -> Pixels | Arriving:
        """The first `count` images of parts of a batch, in order."""


def transfer_of(device: torch.device) -> Transfer:
    """The transfer that suits a device."""
    return CudaTransfer(device) if device.type == "cuda" else PlainTransfer(device)


class PlainTransfer:
    """Copies that are waited for; none at all on the CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def load(self, values: NDArray[Any]) -> Tensor:
        return as_tensor(values).to(self._device)

    def unload(self, parts: Sequence[Levels], count: int) -> Pixels:
        made = [Pixels(part.pixels.cpu().numpy(), part.finite.cpu().numpy()) for part in parts]
        if len(made) == 1:
            return Pixels(made[0].pixels[:count], made[0].finite[:count])
        return Pixels(
            np.concatenate([part.pixels for part in made])[:count],
            np.concatenate([part.finite for part in made])[:count],
        )


class CudaTransfer:
    """Copies out of and into pinned memory, which nobody waits for but who uses them.

    cuda: `torch.cuda`, or what stands for it where there is none.
    """

    def __init__(self, device: torch.device, cuda: Any = torch.cuda) -> None:
        self._device = device
        self._cuda = cuda
        self._out = cuda.Stream(device)

    def load(self, values: NDArray[Any]) -> Tensor:
        host = as_tensor(values)
        pinned = self._pinned(host.shape, host.dtype).copy_(host)
        return pinned.to(self._device, non_blocking=True)

    def unload(self, parts: Sequence[Levels], count: int) -> Arriving:
        first = parts[0].pixels
        pixels = self._pinned((count, *first.shape[1:]), first.dtype)
        finite = self._pinned((count,), torch.bool)
        self._out.wait_stream(self._cuda.current_stream(self._device))
        with self._cuda.stream(self._out):
            at = 0
            for part in parts:
                size = min(len(part.finite), count - at)
                for host, made in ((pixels, part.pixels), (finite, part.finite)):
                    host[at : at + size].copy_(made[:size], non_blocking=True)
                    made.record_stream(self._out)  # its memory must not be given away before
                at += size
        landed = self._cuda.Event(blocking=True)  # sleeps, where others need the processor
        landed.record(self._out)
        return Landing(pixels, finite, landed)

    def _pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Torch keeps pinned memory for the next batch, once the copy and its user are done."""
        return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)


class Landing:
    """Pixels on their way into pinned memory."""

    def __init__(self, pixels: Tensor, finite: Tensor, landed: Any) -> None:
        self._pixels = pixels
        self._finite = finite
        self._landed = landed

    def wait(self) -> Pixels:
        """The pixels. Raises torch.AcceleratorError when a kernel of the batch failed."""
        self._landed.synchronize()
        return Pixels(self._pixels.numpy(), self._finite.numpy())
