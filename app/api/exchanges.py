"""Waiting draws of one kind, sent to a worker several at a time.

A request of a few samples costs more on its way to the worker than on the device. So at most two
exchanges per kind are under way, one that the device runs and one that waits for it; whoever
comes meanwhile joins the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import numpy as np

from app.wire import Draw, Drawn

UNDER_WAY = 2


class _Waiting:
    """One draw, and its answer to be."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.answer: asyncio.Future[Drawn] = asyncio.get_running_loop().create_future()


class Exchanges:
    """Draws that differ in their latents and labels only; used on the event loop."""

    def __init__(self, send: Callable[[Draw], Awaitable[Drawn]]) -> None:
        self._send = send
        self._queue: deque[_Waiting] = deque()
        self._carriers = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, draw: Draw) -> Drawn:
        """The worker's answer to this draw; an exchange that fails, fails for all it carries.

        One that is cancelled is not sent, if it still waits.
        """
        waiting = _Waiting(draw)
        self._queue.append(waiting)
        if self._carriers < UNDER_WAY:
            self._carriers += 1
            task = asyncio.create_task(self._carry())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await waiting.answer

    async def _carry(self) -> None:
        """Exchange after exchange, until nobody waits."""
        try:
            while carried := self._take():
                await self._exchange(carried)
        finally:
            # Here, not when the task is seen to be done: who asks in between has to be carried.
            self._carriers -= 1

    async def _exchange(self, carried: list[_Waiting]) -> None:
        try:
            drawn = await self._send(_joined([waiting.draw for waiting in carried]))
        except BaseException as error:
            for waiting in carried:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            _share(drawn, carried)

    def _take(self) -> list[_Waiting]:
        """The next draws, as many as the device takes in one batch."""
        taken: list[_Waiting] = []
        room = 0
        while self._queue:
            first = self._queue[0]
            if first.answer.cancelled():
                self._queue.popleft()
                continue
            if taken and len(first.draw.z) > room:
                break
            room = (room if taken else first.draw.batch) - len(first.draw.z)
            taken.append(self._queue.popleft())
        return taken


def _joined(draws: list[Draw]) -> Draw:
    first = draws[0]
    if len(draws) == 1:
        return first
    labels = [draw.labels for draw in draws if draw.labels is not None]
    return first._replace(
        z=np.concatenate([draw.z for draw in draws]),
        labels=np.concatenate(labels) if labels else None,
    )


def _share(drawn: Drawn, carried: list[_Waiting]) -> None:
    at = 0
    for waiting in carried:
        end = at + len(waiting.draw.z)
        if not waiting.answer.done():
            waiting.answer.set_result(
                Drawn(drawn.pixels[at:end], drawn.finite[at:end], drawn.environment)
            )
        at = end
