"""What was read from the database a moment ago, for requests that cost less than the reading."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import TTLCache
from fastapi.concurrency import run_in_threadpool

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST_KEPT = 1_024


class Fresh(Generic[K, V]):
    """Values that are at most so many seconds old; used on the event loop only.

    Of all that miss the same one at a time, one reads it, in a thread, and the others wait for
    it: under load a value that gets too old would else be read by everybody at once.
    """

    def __init__(self, read: Callable[[K], V], seconds: float) -> None:
        self._read = read
        self._values: TTLCache[K, V] = TTLCache(MOST_KEPT, seconds)
        self._reading: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K) -> V:
        """The value of a key. Raises what reading it raises; that is not kept."""
        try:
            return self._values[key]
        except KeyError:
            # The others wait on, should the one who came first have left.
            return await asyncio.shield(self._reading.get(key) or self._begin(key))

    def forget(self) -> None:
        """Read everything again; what is being read is used by those who wait for it only."""
        self._values.clear()
        self._reading.clear()

    def _begin(self, key: K) -> asyncio.Task[V]:
        task = asyncio.create_task(run_in_threadpool(self._read, key))
        self._reading[key] = task
        task.add_done_callback(lambda done: self._end(key, done))
        return task

    def _end(self, key: K, task: asyncio.Task[V]) -> None:
        failed = task.cancelled() or task.exception()
        if self._reading.get(key) is task:
            del self._reading[key]
            if not failed:
                self._values[key] = task.result()
