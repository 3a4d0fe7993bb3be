"""Keeps the worker processes of `synthloom serve` alive."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from asyncio.subprocess import Process

from app.settings import Settings

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 30.0
BEGIN = b"\n"
HEALTHY_SECONDS = 30.0
"""A worker that lived this long is started again at once; one that did not, ever later."""
STOP_SECONDS = 20.0
LOOKS = 10
"""Looks in a row without a sign of life after which a worker counts as hung. They are counted, not
timed: after a pause of the server itself (Ctrl-Z, a paused container) nobody is accused at once."""
START_LOOKS = 10 * LOOKS
"""As many before the first sign: a busy machine may take long to get that far, and a worker that is
killed for it would never start."""


class Supervisor:
    """Starts workers, starts them again when they end or hang, and stops them with the server.

    Each has a socket to the server as its standard input. When the server dies without a word,
    its workers see the socket close and end too, so a restart never meets workers of the past.
    The other way, workers send signs of life; one that sends none is killed, because a process
    that is stopped inside a transaction holds its locks until it ends.

    Workers load what they need while the server prepares the database, and touch it when they are
    told that it is ready.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._children: dict[int, Process] = {}

    async def run(self) -> None:
        """Supervise until `stop` is called."""
        slots = range(self._settings.workers)
        await asyncio.gather(*(self._keep(slot) for slot in slots))

    def database_is_ready(self) -> None:
        """Workers may begin."""
        self._ready.set()

    async def stop(self) -> None:
        """End the workers: politely, then not."""
        self._stopping.set()
        children = list(self._children.values())
        for child in children:
            _signal(child, "terminate")
        done = asyncio.gather(*(child.wait() for child in children))
        try:
            await asyncio.wait_for(done, STOP_SECONDS)
        except TimeoutError:
            for child in children:
                _signal(child, "kill")

    async def _keep(self, slot: int) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            began = time.monotonic()
            signs = Signs()
            child, way = await self._start(slot, signs)
            self._children[slot] = child
            telling = asyncio.create_task(self._tell_when_ready(way))
            watching = asyncio.create_task(self._end_when_hung(slot, child, signs))
            code = await child.wait()
            telling.cancel()
            watching.cancel()
            if self._stopping.is_set():
                return
            lived = time.monotonic() - began
            pause = FIRST_PAUSE_SECONDS if lived > HEALTHY_SECONDS else pause
            log.warning(
                "worker %d ended with code %d; starting it again in %.1f s", slot, code, pause
            )
            await self._pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _start(self, slot: int, signs: Signs) -> tuple[Process, asyncio.WriteTransport]:
        """A worker, and the way to its standard input."""
        ours, theirs = socket.socketpair()
        with theirs:
            way, _ = await asyncio.get_running_loop().create_connection(lambda: signs, sock=ours)
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "app.cli",
                "worker",
                "--name",
                f"{self._settings.worker_name}/{slot}",
                "--supervised",
                stdin=theirs.fileno(),
                env={**os.environ, **environment(self._settings)},
            )
        return child, way

    async def _tell_when_ready(self, way: asyncio.WriteTransport) -> None:
        await self._ready.wait()
        way.write(BEGIN)

    async def _end_when_hung(self, slot: int, child: Process, signs: Signs) -> None:
        pause, silent = self._settings.hang_seconds / LOOKS, 0
        while silent < (LOOKS if signs.begun else START_LOOKS):
            await asyncio.sleep(pause)
            silent = 0 if signs.taken() else silent + 1
        log.error(
            "worker %d has given no sign of life for %g s: it is frozen or hangs, and is killed",
            slot,
            silent * pause,
        )
        _signal(child, "kill")

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return


class Signs(asyncio.Protocol):
    """The signs of life of one worker, as they arrive."""

    def __init__(self) -> None:
        self.begun = False
        """Whether there ever was one."""
        self._heard = False

    def data_received(self, data: bytes) -> None:
        """The worker lives."""
        self.begun = self._heard = True

    def taken(self) -> bool:
        """Whether there was one since the last call."""
        heard, self._heard = self._heard, False
        return heard


def environment(settings: Settings) -> dict[str, str]:
    """The settings as a child process reads them."""
    values = settings.model_dump(exclude_none=True, exclude={"api_key"})
    return {f"SYNTHLOOM_{name.upper()}": str(value) for name, value in values.items()}


def _signal(child: Process, how: str) -> None:
    try:
        getattr(child, how)()
    except ProcessLookupError:
        return
