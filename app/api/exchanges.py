"""Waiting draws of one kind, sent to a worker several at a time.

A request of a few samples costs more on its way to the worker than on the device. So at most two
exchanges per kind are under way, one that the device runs and one that waits for it; whoever
comes meanwhile joins the next one ("flat combining", Hendler et al., SPAA 2010): one of the
waiting threads carries the draws of all.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

from app.wire import Draw, Drawn

UNDER_WAY = 2


class _Waiting:
    """One draw; what it waits for is its answer, or the draws that its thread is to carry."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.answer: Future[Drawn] = Future()
        self.turn: Future[list[_Waiting]] = Future()


class Exchanges:
    """Draws that differ in their latents and labels only."""

    def __init__(self, send: Callable[[Draw], Drawn]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._under_way = 0

    def ask(self, draw: Draw) -> Drawn:
        """The worker's answer to this draw; an exchange that fails, fails for all it carries."""
        mine = _Waiting(draw)
        with self._lock:
            # Nobody waits while fewer are under way: whoever ends one, begins the next.
            at_once = self._under_way < UNDER_WAY
            if at_once:
                self._under_way += 1
            else:
                self._queue.append(mine)
        carried = [mine] if at_once else mine.turn.result()
        if carried:
            self._carry(carried)
        return mine.answer.result()

    def _carry(self, carried: list[_Waiting]) -> None:
        try:
            drawn = self._send(_joined([waiting.draw for waiting in carried]))
        except BaseException as error:
            for waiting in carried:
                waiting.answer.set_exception(error)
        else:
            _share(drawn, carried)
        for waiting in carried[1:]:
            waiting.turn.set_result([])
        with self._lock:
            following = self._take()
            if not following:
                self._under_way -= 1
        if following:
            following[0].turn.set_result(following)

    def _take(self) -> list[_Waiting]:
        """The next draws, as many as the device takes in one batch."""
        taken: list[_Waiting] = []
        room = self._queue[0].draw.batch if self._queue else 0
        while self._queue and (not taken or len(self._queue[0].draw.z) <= room):
            taken.append(self._queue.popleft())
            room -= len(taken[-1].draw.z)
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
        waiting.answer.set_result(Drawn(drawn.pixels[at:end], drawn.finite[at:end]))
        at = end
