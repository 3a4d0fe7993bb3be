"""The engine of a worker, asked over HTTP by the API."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import httpx
import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.api.exchanges import Exchanges
from app.db.session import now
from app.db.tables import Worker
from app.errors import OverloadedError, SynthloomError, UnavailableError, tree
from app.wire import (
    GENERATE_PATH,
    PROBE_PATH,
    Draw,
    Drawn,
    Tried,
    pack_draw,
    unpack_drawn,
    unpack_tried,
)
from models.spec import ModelSpec

REFRESH_SECONDS = 1.0
TIMEOUT_SECONDS = 120.0
_CONNECTIONS = httpx.Limits(max_connections=256, max_keepalive_connections=256)


class _Door:
    """A worker that can be asked, and how many samples it is being asked for."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.asked = 0
        self.exchanges: defaultdict[Kind, Exchanges] = defaultdict(lambda: Exchanges(self._send))

    def _send(self, draw: Draw) -> Drawn:
        answer = self.client.post(GENERATE_PATH, content=pack_draw(draw))
        if answer.status_code != 200:
            raise _error_of(answer)
        return unpack_drawn(answer.content)


class Kind(NamedTuple):
    """What draws must have in common to be asked for together."""

    model: str
    batch: int
    precision: str


class RemoteWorkers:
    """The workers that are alive, each with its connections; the least asked one is next."""

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Session]],
        lease_seconds: float,
        most_asked: int,
    ) -> None:
        self._transaction = transaction
        self._lease = timedelta(seconds=lease_seconds)
        self._most_asked = most_asked
        self._lock = threading.Lock()
        self._doors: dict[tuple[str, str], _Door] = {}
        self._fresh_until = 0.0

    def ask(self, draw: Draw) -> Drawn:
        """The answer of a worker.

        Raises OverloadedError when too much is asked for already, UnavailableError when no
        worker answers, and whatever error of the tree the worker gives.
        """
        with self._exchanges(draw) as exchanges:
            try:
                return exchanges.ask(draw)
            except httpx.TransportError as error:
                self._fresh_until = 0.0
                raise UnavailableError(
                    "The worker that was asked has gone. Try again in a second.",
                    retry_after_seconds=1,
                ) from error

    def try_model(self, spec: ModelSpec, key: str) -> Tried:
        """What a worker draws and measures of a model that is not registered.

        Raises UnavailableError when no worker answers, and whatever error the worker gives.
        """
        with self._lock:
            door = self._least_asked()
        asked = {"spec": spec.model_dump(mode="json"), "key": key}
        try:
            answer = door.client.post(PROBE_PATH, json=asked)
        except httpx.TransportError as error:
            self._fresh_until = 0.0
            raise UnavailableError(
                "The worker did not survive this model, or could not be reached. Look into its "
                "log; a smaller model may fit.",
                retry_after_seconds=5,
            ) from error
        if answer.status_code != 200:
            raise _error_of(answer)
        return unpack_tried(answer.content)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for door in self._doors.values():
                door.client.close()
            self._doors.clear()

    @contextmanager
    def _exchanges(self, draw: Draw) -> Iterator[Exchanges]:
        count = len(draw.z)
        with self._lock:
            door = self._least_asked()
            if door.asked and door.asked + count > self._most_asked:
                raise OverloadedError(
                    "More samples are being waited for than the workers take. Try again in a "
                    "second, or submit a job.",
                    retry_after_seconds=1,
                )
            door.asked += count
            exchanges = door.exchanges[Kind(draw.model, draw.batch, draw.precision)]
        try:
            yield exchanges
        finally:
            with self._lock:
                door.asked -= count

    def _least_asked(self) -> _Door:
        if time.monotonic() >= self._fresh_until:
            self._refresh()
        if not self._doors:
            raise UnavailableError(
                "No worker is running that could answer. Try again in a few seconds.",
                retry_after_seconds=5,
            )
        return min(self._doors.values(), key=lambda door: door.asked)

    def _refresh(self) -> None:
        with self._transaction() as session:
            alive = session.execute(
                sa.select(Worker.address, Worker.token).where(
                    Worker.seen_at >= now(session) - self._lease
                )
            ).all()
        found = {(address, token) for address, token in alive if address and token}
        for key in found - self._doors.keys():
            self._doors[key] = _Door(_client(*key))
        for key in self._doors.keys() - found:
            # Its client is closed by the garbage collector once nobody waits for it any more.
            del self._doors[key]
        self._fresh_until = time.monotonic() + REFRESH_SECONDS


@dataclass(frozen=True, slots=True)
class RemoteEngine:
    """What a shard needs of an engine, from whichever worker has time."""

    workers: RemoteWorkers
    request_id: str
    latent_sizes: Mapping[str, int]
    precision: str
    batch: int
    """Samples that the device takes at once, whoever asked for them."""

    def generate(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Drawn:
        """Images of at most `batch` latents; they may share a batch with those of others."""
        size = max(batch, self.batch)
        return self.workers.ask(Draw(model, z, labels, size, self.precision, self.request_id))

    def latent_size(self, model: str) -> int:
        """Length of one latent, from the model's spec."""
        return self.latent_sizes[model]


def _client(address: str, token: str) -> httpx.Client:
    socket_path = address.removeprefix("unix:") if address.startswith("unix:") else None
    return httpx.Client(
        transport=httpx.HTTPTransport(uds=socket_path, limits=_CONNECTIONS),
        base_url="http://worker" if socket_path else address,
        headers={"Authorization": f"Bearer {token}"},
        timeout=TIMEOUT_SECONDS,
    )


def _error_of(answer: httpx.Response) -> SynthloomError:
    """The error that the worker met, as the one it was."""
    try:
        problem = answer.json()
        slug, detail = problem["type"].rpartition("/")[2], problem["detail"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return SynthloomError("A worker gave an answer that the server does not understand.")
    for cls in tree():
        if cls.slug == slug:
            return cls(detail, retry_after_seconds=problem.get("retry_after"))
    return SynthloomError(detail)
