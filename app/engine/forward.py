"""One batch on the device: padded, in pieces where they are faster or memory is short."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from app.engine.batcher import Arriving
from app.engine.devices import empty_cache
from app.engine.pieces import activation_bytes, piece_of
from app.engine.transfer import Transfer, transfer_of
from app.errors import DeviceMemoryError
from models.generator import Generator, Levels, Pixels, draw

_T = TypeVar("_T", bound=np.generic)

RECOVER_AFTER = 64
"""Batches in smaller pieces after which a larger piece is tried again."""


@dataclass
class _Memory:
    """What a generator takes of a device's memory.

    image_bytes: of its largest activation, an image.
    limit: how many images the device could take at once; None: no limit was met.
    """

    image_bytes: int
    limit: int | None = None
    successes: int = 0


class Forward:
    """Runs padded batches, and remembers for each generator what the device could take.

    Every forward pass of a generator has the same size as long as memory allows, the batch or a
    piece of it, so shapes stay static and a sample's pixels do not depend on how many others were
    asked for with it.

    broken: called with an error after which the device can't be used by this process any more
    (a device-side assert, an illegal access); it must not return.
    """

    def __init__(
        self,
        broken: Callable[[BaseException], None],
        transfer_of: Callable[[torch.device], Transfer] = transfer_of,
    ) -> None:
        self._broken = broken
        self._transfer_of = transfer_of
        self._transfers: dict[torch.device, Transfer] = {}
        self._memories: WeakKeyDictionary[Generator, _Memory] = WeakKeyDictionary()

    def __call__(
        self,
        generator: Generator,
        z: NDArray[np.float32],
        labels: NDArray[np.int64] | None,
        batch: int,
        precision: str = "float32",
        psi: float | None = None,
    ) -> Pixels | Arriving:
        """Pixels of at most `batch` latents, computed in `float32` or mostly in `bfloat16`.

        psi: see `models.generator.draw`.

        Raises DeviceMemoryError when a single one is too many.
        """
        padded, conditions = _padded(z, batch), None
        if labels is not None:
            conditions = _padded(labels, batch)
        memory = self._memory(generator)
        piece = piece_of(batch, memory.image_bytes)
        how = (precision == "bfloat16", psi)
        run = partial(self._try, generator, padded, conditions, *how, len(z))
        while (made := run(memory.limit or piece)) is None:
            # Here, outside of `except`, nothing holds the tensors of the failed pass any more.
            gc.collect()
            empty_cache(generator.device)
            if memory.limit == 1:
                raise DeviceMemoryError(
                    "Not one image of this model fits into the device's memory. Use a device "
                    "with more of it, or SYNTHLOOM_DEVICE=cpu."
                )
            memory.limit, memory.successes = min(memory.limit or piece, piece) // 2 or 1, 0
        _recover(memory, piece)
        return made if isinstance(made, Pixels) else _Watched(made, self._broken)

    def _try(
        self,
        generator: Generator,
        z: NDArray[np.float32],
        labels: NDArray[np.int64] | None,
        bfloat16: bool,
        psi: float | None,
        count: int,
        size: int,
    ) -> Pixels | Arriving | None:
        """The first `count` images of a batch that runs in pieces of `size`; None when the
        device ran out of memory."""
        transfer = self._transfer(generator.device)
        try:
            on_device = transfer.load(z)
            conditions = None if labels is None else transfer.load(labels)
            with torch.autocast(generator.device.type, torch.bfloat16, enabled=bfloat16):
                made: list[Levels] = []
                for at in range(0, len(z), size):
                    cut = slice(at, at + size)
                    labels_of = None if conditions is None else conditions[cut]
                    made.append(draw(generator, on_device[cut], labels_of, psi))
            return transfer.unload(made, count)
        except torch.OutOfMemoryError:
            return None
        except torch.AcceleratorError as error:
            self._broken(error)
            raise

    def _memory(self, generator: Generator) -> _Memory:
        if generator not in self._memories:
            try:
                image_bytes = activation_bytes(generator)
            except torch.OutOfMemoryError:
                image_bytes = 0  # the pass itself says so
            self._memories[generator] = _Memory(image_bytes)
        return self._memories[generator]

    def _transfer(self, device: torch.device) -> Transfer:
        if device not in self._transfers:
            self._transfers[device] = self._transfer_of(device)
        return self._transfers[device]


class _Watched:
    """A batch whose kernels may still fail."""

    def __init__(self, arriving: Arriving, broken: Callable[[BaseException], None]) -> None:
        self._arriving = arriving
        self._broken = broken

    def wait(self) -> Pixels:
        """The pixels."""
        try:
            return self._arriving.wait()
        except torch.AcceleratorError as error:
            self._broken(error)
            raise


def _recover(memory: _Memory, piece: int) -> None:
    """Try a larger piece again after a while: the memory may have been a neighbour's."""
    if memory.limit is None:
        return
    memory.successes += 1
    if memory.successes >= RECOVER_AFTER:
        larger = 2 * memory.limit
        memory.limit, memory.successes = (larger if larger < piece else None), 0


def _padded(values: NDArray[_T], size: int) -> NDArray[_T]:
    missing = size - len(values)
    if not missing:
        return values
    return np.concatenate([values, np.repeat(values[:1], missing, axis=0)])
