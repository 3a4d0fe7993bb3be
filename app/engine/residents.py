"""Models that stay loaded between batches: loaded once, the least recently used leaves first."""

from __future__ import annotations

import gc
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from models.generator import Generator

Loader = Callable[[str], Generator]
"""From the SHA-256 of a model to its generator on one device."""


@dataclass
class _Resident:
    generator: Generator
    bytes: int
    users: int = 0


_Left = list["weakref.ref[Generator]"]
"""Generators that were evicted, as far as somebody still holds them."""


class Residents:
    """Generators by the SHA-256 of their model, within a budget of bytes.

    A model in use never leaves, so the budget may be exceeded by what runs right now. Two that
    ask for the same model at once share one load.

    empty_cache: called after models have left, to give the memory of their tensors back to the
    device where an allocator keeps it.
    """

    def __init__(self, load: Loader, budget_bytes: int, empty_cache: Callable[[], None]) -> None:
        self._load = load
        self._budget = budget_bytes
        self._empty_cache = empty_cache
        self._lock = threading.Lock()
        self._resident: OrderedDict[str, _Resident] = OrderedDict()
        self._loading: dict[str, Future[None]] = {}

    @contextmanager
    def use(self, sha256: str) -> Iterator[Generator]:
        """The generator, kept resident for the length of the block.

        Raises torch.OutOfMemoryError when it has no room even without the models that nobody
        uses, and whatever the loader raises.
        """
        resident = self._acquire(sha256)
        try:
            yield resident.generator
        finally:
            with self._lock:
                resident.users -= 1
                del resident
                left = self._evict(self._budget)
            self._free(left)

    def evict_idle(self) -> bool:
        """Let every model go that nobody uses. False: there was none."""
        with self._lock:
            left = self._evict(0)
        self._free(left)
        return bool(left)

    @property
    def loaded(self) -> list[str]:
        """SHA-256 of the resident models, the least recently used first."""
        with self._lock:
            return list(self._resident)

    def _acquire(self, sha256: str) -> _Resident:
        with self._lock:
            if sha256 in self._resident:
                return self._touch(sha256)
            flight = self._loading.get(sha256)
            mine = flight is None
            if flight is None:
                flight = self._loading[sha256] = Future()
        if mine:
            self._fly(sha256, flight)
        flight.result()
        with self._lock:
            if sha256 in self._resident:
                return self._touch(sha256)
        return self._acquire(sha256)  # evicted between the load and now

    def _fly(self, sha256: str, flight: Future[None]) -> None:
        try:
            generator = self._loaded(sha256)
        except BaseException as error:
            with self._lock:
                del self._loading[sha256]
            flight.set_exception(error)
            return
        with self._lock:
            self._resident[sha256] = _Resident(generator, generator.resident_bytes)
            del self._loading[sha256]
        flight.set_result(None)

    def _loaded(self, sha256: str) -> Generator:
        try:
            return self._load(sha256)
        except torch.OutOfMemoryError:
            pass  # outside of `except` nothing holds what was loaded so far any more
        self.evict_idle()
        return self._load(sha256)

    def _touch(self, sha256: str) -> _Resident:
        self._resident.move_to_end(sha256)
        resident = self._resident[sha256]
        resident.users += 1
        return resident

    def _evict(self, budget: int) -> _Left:
        left: _Left = []
        total = sum(resident.bytes for resident in self._resident.values())
        for sha256 in list(self._resident):
            if total <= budget:
                break
            if not self._resident[sha256].users:
                resident = self._resident.pop(sha256)
                total -= resident.bytes
                left.append(weakref.ref(resident.generator))
        return left

    def _free(self, left: _Left) -> None:
        if not left:
            return
        if any(generator() is not None for generator in left):
            gc.collect()  # a cycle, like the one of an error and its frames, still holds it
        self._empty_cache()
