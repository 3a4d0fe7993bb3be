"""One batch on the device: padded, halved when the device's memory is short."""

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

from app.errors import DeviceMemoryError
from models.generator import Generator, Pixels, sample

_T = TypeVar("_T", bound=np.generic)

RECOVER_AFTER = 64
"""Batches in smaller pieces after which a larger piece is tried again."""


@dataclass
class _Memory:
    """How many images of a generator the device could take at once; None: no limit was met."""

    limit: int | None = None
    successes: int = 0


class Forward:
    """Runs padded batches, and remembers for each generator what the device could take.

    Every forward pass has the full batch size as long as memory allows, so shapes stay static
    and a sample's pixels do not depend on how many others were asked for with it.

    broken: called with an error after which the device can't be used by this process any more
    (a device-side assert, an illegal access); it must not return.
    """

    def __init__(self, broken: Callable[[BaseException], None]) -> None:
        self._broken = broken
        self._memories: WeakKeyDictionary[Generator, _Memory] = WeakKeyDictionary()

    def __call__(
        self,
        generator: Generator,
        z: NDArray[np.float32],
        labels: NDArray[np.int64] | None,
        batch: int,
        precision: str = "float32",
    ) -> Pixels:
        """Pixels of at most `batch` latents, computed in `float32` or mostly in `bfloat16`.

        Raises DeviceMemoryError when a single one is too many.
        """
        padded, conditions = _padded(z, batch), None
        if labels is not None:
            conditions = _padded(labels, batch)
        memory = self._memories.setdefault(generator, _Memory())
        run = partial(self._try, generator, padded, conditions, precision == "bfloat16")
        while (made := run(memory.limit or batch)) is None:
            # Here, outside of `except`, nothing holds the tensors of the failed pass any more.
            _free_memory()
            if memory.limit == 1:
                raise DeviceMemoryError(
                    "Not one image of this model fits into the device's memory. Use a device "
                    "with more of it, or SYNTHLOOM_DEVICE=cpu."
                )
            memory.limit, memory.successes = min(memory.limit or batch, batch) // 2 or 1, 0
        _recover(memory, batch)
        return Pixels(made.pixels[: len(z)], made.finite[: len(z)])

    def _try(
        self,
        generator: Generator,
        z: NDArray[np.float32],
        labels: NDArray[np.int64] | None,
        bfloat16: bool,
        size: int,
    ) -> Pixels | None:
        """The batch in pieces; None when the device ran out of memory."""
        try:
            with torch.autocast(generator.device.type, torch.bfloat16, enabled=bfloat16):
                made = [
                    sample(generator, z[at : at + size], _cut(labels, at, size))
                    for at in range(0, len(z), size)
                ]
        except torch.OutOfMemoryError:
            return None
        except torch.AcceleratorError as error:
            self._broken(error)
            raise
        if len(made) == 1:
            return made[0]
        return Pixels(
            np.concatenate([part.pixels for part in made]),
            np.concatenate([part.finite for part in made]),
        )


def _recover(memory: _Memory, batch: int) -> None:
    """Try a larger piece again after a while: the memory may have been a neighbour's."""
    if memory.limit is None:
        return
    memory.successes += 1
    if memory.successes >= RECOVER_AFTER:
        larger = 2 * memory.limit
        memory.limit, memory.successes = (larger if larger < batch else None), 0


def _cut(labels: NDArray[np.int64] | None, start: int, size: int) -> NDArray[np.int64] | None:
    return None if labels is None else labels[start : start + size]


def _padded(values: NDArray[_T], size: int) -> NDArray[_T]:
    missing = size - len(values)
    if not missing:
        return values
    return np.concatenate([values, np.repeat(values[:1], missing, axis=0)])


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
