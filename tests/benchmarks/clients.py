"""Many clients that ask without pause, in a process of its own and with little of a core.

Closed loop over keep-alive connections: each client sends its next request as soon as it has its
answer. Run as `python -m tests.benchmarks.clients` with a `Task` as JSON on standard input; prints
a `Load` as JSON. Sockets, uvloop and httptools only: a client library would take what it measures.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import cast

import httptools
import uvloop

SEED = "@seed@"
"""Stands in the body of a request for a number that no other request has."""
QUIET_SECONDS = 60.0


@dataclass(frozen=True)
class Task:
    """Who is asked, for what, by how many, and for how long."""

    port: int
    path: str
    body: str
    clients: int
    seconds: float
    warm_seconds: float = 1.0
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Load:
    """What came back between warm-up and end."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    answers: int
    refused: int
    """Answers of 429 and 503; any other status than 200 ends the measurement."""


class _Client(asyncio.Protocol):
    """One connection; it asks from the moment it is made."""

    def __init__(self, crowd: _Crowd) -> None:
        self._crowd = crowd
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        self._crowd.answered(status, self._began)
        self._parser = httptools.HttpResponseParser(self)
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        self._crowd.lost(error)

    def _ask(self) -> None:
        request = self._crowd.next_request()
        assert self._transport is not None
        if request is None:
            self._transport.close()
            return
        self._began = time.perf_counter()
        self._transport.write(request)


class _Crowd:
    """All clients of a task, and what they were answered."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._began = time.perf_counter()
        self._first = self._began + task.warm_seconds
        self._end = self._first + task.seconds
        self._seed = 0
        self._open = 0
        self._took: list[float] = []
        self._statuses: Counter[int] = Counter()
        self._over = asyncio.get_running_loop().create_future()
        names = {"Host": "localhost", "Content-Type": "application/json", **task.headers}
        self._head = f"POST {task.path} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in names.items()
        )

    async def ask(self) -> Load:
        """Ask until the end; the load."""
        loop = asyncio.get_running_loop()
        for _ in range(self._task.clients):
            self._open += 1
            await loop.create_connection(lambda: _Client(self), "127.0.0.1", self._task.port)
        await asyncio.wait_for(
            self._over, self._task.warm_seconds + self._task.seconds + QUIET_SECONDS
        )
        strange = self._statuses.keys() - {200, 429, 503}
        if strange or not self._took:
            raise RuntimeError(f"{len(self._took)} answers; statuses {dict(self._statuses)}")
        took = sorted(self._took)
        return Load(
            requests_per_second=len(took) / self._task.seconds,
            p50_ms=1_000 * statistics.median(took),
            p99_ms=1_000 * took[min(len(took) - 1, int(len(took) * 0.99))],
            answers=len(took),
            refused=self._statuses[429] + self._statuses[503],
        )

    def next_request(self) -> bytes | None:
        """The bytes of a request; None after the end."""
        if time.perf_counter() >= self._end:
            return None
        self._seed += 1
        body = self._task.body.replace(SEED, str(self._seed))
        return f"{self._head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    def answered(self, status: int, began: float) -> None:
        """Note an answer, if it is from between warm-up and end."""
        now = time.perf_counter()
        if self._first <= now < self._end:
            self._statuses[status] += 1
            if status == 200:
                self._took.append(now - began)

    def lost(self, error: Exception | None) -> None:
        """A connection is closed; by us, at the end, or the measurement is void."""
        self._open -= 1
        if self._over.done():
            return
        if time.perf_counter() < self._end:
            self._over.set_exception(error or ConnectionError("the server closed a connection"))
        elif not self._open:
            self._over.set_result(None)


def ask(task: Task) -> Load:
    """Run the clients as a process, and wait for what they found."""
    command = [sys.executable, "-m", "tests.benchmarks.clients"]
    ran = subprocess.run(
        command, input=json.dumps(asdict(task)), capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise RuntimeError(f"the clients failed: {ran.stderr[-2_000:]}")
    return Load(**json.loads(ran.stdout))


async def _main() -> None:
    task = Task(**json.loads(sys.stdin.read()))
    sys.stdout.write(json.dumps(asdict(await _Crowd(task).ask())) + "\n")


if __name__ == "__main__":
    uvloop.run(_main())
