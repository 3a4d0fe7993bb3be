"""Models that stay loaded between batches: loaded once, the least recently used leaves first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from models.generator import Generator

Loader = Callable[[str], Generator]
"""From the SHA-256 of a model to its generator on the worker's device."""


@dataclass
class _Resident:
    generator: Generator
    bytes: int
    users: int = 0


class Residents:
    """Generators by the SHA-256 of their model, within a budget of bytes.

    A model in use never leaves, so the budget may be exceeded by what runs right now. Two that
    ask for the same model at once share one load.
    """

    def __init__(self, load: Loader, budget_bytes: int) -> None:
        self._load = load
        self._budget = budget_bytes
        self._lock = threading.Lock()
        self._resident: OrderedDict[str, _Resident] = OrderedDict()
        self._loading: dict[str, Future[_Resident]] = {}

    @contextmanager
    def use(self, sha256: str) -> Iterator[Generator]:
        """The generator, kept resident for the length of the block."""
        resident = self._acquire(sha256)
        try:
            yield resident.generator
        finally:
            with self._lock:
                resident.users -= 1
                self._evict()

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

    def _fly(self, sha256: str, flight: Future[_Resident]) -> None:
        try:
            generator = self._load(sha256)
        except BaseException as error:
            with self._lock:
                del self._loading[sha256]
            flight.set_exception(error)
            return
        resident = _Resident(generator, _tensor_bytes(generator))
        with self._lock:
            self._resident[sha256] = resident
            del self._loading[sha256]
        flight.set_result(resident)

    def _touch(self, sha256: str) -> _Resident:
        self._resident.move_to_end(sha256)
        resident = self._resident[sha256]
        resident.users += 1
        return resident

    def _evict(self) -> None:
        total = sum(resident.bytes for resident in self._resident.values())
        for sha256 in list(self._resident):
            if total <= self._budget:
                return
            if not self._resident[sha256].users:
                total -= self._resident.pop(sha256).bytes


def _tensor_bytes(generator: Generator) -> int:
    tensors = (*generator.parameters(), *generator.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
