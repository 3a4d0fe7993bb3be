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
from typing import Generic, Protocol, TypeVar

import torch


class Loaded(Protocol):
    """A network on a device."""

    @property
    def resident_bytes(self) -> int:
        """Memory that it takes while it is loaded."""


L = TypeVar("L", bound=Loaded)
Loader = Callable[[str], L]
"""From the SHA-256 of a model to its network on one device."""


@dataclass
class _Resident(Generic[L]):
    network: L
    bytes: int
    users: int = 0


class Residents(Generic[L]):
    """Networks, generators or classifiers, by the SHA-256 of their model, within a budget of bytes.

    A model in use never leaves, so the budget may be exceeded by what runs right now. Two that
    ask for the same model at once share one load.

    empty_cache: called after models have left, to give the memory of their tensors back to the
    device where an allocator keeps it.
    """

    def __init__(self, load: Loader[L], budget_bytes: int, empty_cache: Callable[[], None]) -> None:
        self._load = load
        self._budget = budget_bytes
        self._empty_cache = empty_cache
        self._lock = threading.Lock()
        self._resident: OrderedDict[str, _Resident[L]] = OrderedDict()
        self._loading: dict[str, Future[None]] = {}

    @contextmanager
    def use(self, sha256: str) -> Iterator[L]:
        """The network, kept resident for the length of the block.

        Raises torch.OutOfMemoryError when it has no room even without the models that nobody
        uses, and whatever the loader raises.
        """
        resident = self._acquire(sha256)
        try:
            yield resident.network
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

    def _acquire(self, sha256: str) -> _Resident[L]:
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
            network = self._loaded(sha256)
        except BaseException as error:
            with self._lock:
                del self._loading[sha256]
            flight.set_exception(error)
            return
        with self._lock:
            self._resident[sha256] = _Resident(network, network.resident_bytes)
            del self._loading[sha256]
        flight.set_result(None)

    def _loaded(self, sha256: str) -> L:
        try:
            return self._load(sha256)
        except torch.OutOfMemoryError:
            pass  # outside of `except` nothing holds what was loaded so far any more
        self.evict_idle()
        return self._load(sha256)

    def _touch(self, sha256: str) -> _Resident[L]:
        self._resident.move_to_end(sha256)
        resident = self._resident[sha256]
        resident.users += 1
        return resident

    def _evict(self, budget: int) -> list[weakref.ref[L]]:
        """Networks that left, as far as somebody still holds them."""
        left: list[weakref.ref[L]] = []
        total = sum(resident.bytes for resident in self._resident.values())
        for sha256 in list(self._resident):
            if total <= budget:
                break
            if not self._resident[sha256].users:
                resident = self._resident.pop(sha256)
                total -= resident.bytes
                left.append(weakref.ref(resident.network))
        return left

    def _free(self, left: list[weakref.ref[L]]) -> None:
        if not left:
            return
        if any(network() is not None for network in left):
            gc.collect()  # a cycle, like the one of an error and its frames, still holds it
        self._empty_cache()
