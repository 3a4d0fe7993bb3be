"""The engine of a worker, asked over HTTP by the API."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector
from fastapi.concurrency import run_in_threadpool
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.api.exchanges import Exchanges
from app.db.session import now
from app.db.tables import Worker
from app.errors import OverloadedError, SynthloomError, UnavailableError, tree
from app.wire import (
    GENERATE_PATH,
    LABEL_PATH,
    PROBE_PATH,
    TRANSFORM_PATH,
    Draw,
    Drawn,
    Transforming,
    Tried,
    pack_draw,
    pack_images,
    pack_transforming,
    unpack_drawn,
    unpack_tried,
    unpack_verdicts,
)
from models.spec import ModelSpec
from models.verdicts import Verdicts

REFRESH_SECONDS = 1.0
TIMEOUT_SECONDS = 120.0


class _Door:
    """A worker that can be asked, and how many samples it is being asked for."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session
        self.asked = 0
        self.exchanges: defaultdict[Kind, Exchanges] = defaultdict(lambda: Exchanges(self._send))

    async def post(self, path: str, body: bytes) -> bytes:
        """What the worker answers; its errors are raised as what they were."""
        async with self.session.post(path, data=body) as answer:
            content: bytes = await answer.read()
            if answer.status != 200:
                raise _error_of(content)
            return content

    async def _send(self, draw: Draw) -> Drawn:
        return unpack_drawn(await self.post(GENERATE_PATH, pack_draw(draw)))


class Kind(NamedTuple):
    """What draws must have in common to be asked for together."""

    model: str
    batch: int
    precision: str
    psi: float | None


class RemoteWorkers:
    """The workers that are alive, each with its connections; the least asked one is next.

    Used on the event loop only.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Session]],
        lease_seconds: float,
        most_asked: int,
    ) -> None:
        self._transaction = transaction
        self._lease = timedelta(seconds=lease_seconds)
        self._most_asked = most_asked
        self._refreshing = asyncio.Lock()
        self._doors: dict[tuple[str, str], _Door] = {}
        self._gone: list[_Door] = []
        self._fresh_until = 0.0

    async def ask(self, draw: Draw) -> Drawn:
        """The answer of a worker.

        Raises OverloadedError when too much is asked for already, UnavailableError when no
        worker answers, and whatever error of the tree the worker gives.
        """
        door, count = await self._least_asked(), len(draw.z)
        if door.asked and door.asked + count > self._most_asked:
            raise OverloadedError(
                "More samples are being waited for than the workers take. Try again in a "
                "second, or submit a job.",
                retry_after_seconds=1,
            )
        door.asked += count
        try:
            kind = Kind(draw.model, draw.batch, draw.precision, draw.psi)
            return await door.exchanges[kind].ask(draw)
        except (ClientError, TimeoutError) as error:
            self._fresh_until = 0.0
            raise _gone() from error
        finally:
            door.asked -= count

    async def label(self, classifier: str, pixels: NDArray[np.uint8]) -> Verdicts:
        """The verdicts of a classifier, by its SHA-256, on uint8 images [n, H, W, C].

        Raises UnavailableError when no worker answers, and whatever error the worker gives.
        """
        return unpack_verdicts(await self._post(LABEL_PATH, pack_images(classifier, pixels)))

    async def transform(self, asked: Transforming) -> Drawn:
        """Drawn images as the transforms of their job leave them.

        Raises UnavailableError when no worker answers, and whatever error the worker gives.
        """
        return unpack_drawn(await self._post(TRANSFORM_PATH, pack_transforming(asked)))

    async def try_model(self, spec: ModelSpec, key: str) -> Tried:
        """What a worker draws and measures of a model that is not registered.

        Raises UnavailableError when no worker answers, and whatever error the worker gives.
        """
        door = await self._least_asked()
        asked = json.dumps({"spec": spec.model_dump(mode="json"), "key": key})
        try:
            return unpack_tried(await door.post(PROBE_PATH, asked.encode()))
        except (ClientError, TimeoutError) as error:
            self._fresh_until = 0.0
            raise UnavailableError(
                "The worker did not survive this model, or could not be reached. Look into its "
                "log; a smaller model may fit.",
                retry_after_seconds=5,
            ) from error

    async def close(self) -> None:
        """Close every connection."""
        doors, self._doors = [*self._doors.values(), *self._gone], {}
        for door in doors:
            await door.session.close()

    async def _post(self, path: str, body: bytes) -> bytes:
        door = await self._least_asked()
        try:
            return await door.post(path, body)
        except (ClientError, TimeoutError) as error:
            self._fresh_until = 0.0
            raise _gone() from error

    async def _least_asked(self) -> _Door:
        if time.monotonic() >= self._fresh_until:
            async with self._refreshing:
                if time.monotonic() >= self._fresh_until:
                    await self._refresh(await run_in_threadpool(self._alive))
        if not self._doors:
            raise UnavailableError(
                "No worker is running that could answer. Try again in a few seconds.",
                retry_after_seconds=5,
            )
        return min(self._doors.values(), key=lambda door: door.asked)

    def _alive(self) -> set[tuple[str, str]]:
        """Address and token of each worker, from the database."""
        with self._transaction() as session:
            alive = session.execute(
                sa.select(Worker.address, Worker.token).where(
                    Worker.seen_at >= now(session) - self._lease
                )
            ).all()
        return {(address, token) for address, token in alive if address and token}

    async def _refresh(self, found: set[tuple[str, str]]) -> None:
        for key in found - self._doors.keys():
            self._doors[key] = _Door(_session(*key))
        self._gone += [self._doors.pop(key) for key in self._doors.keys() - found]
        for door in [door for door in self._gone if not door.asked]:
            self._gone.remove(door)  # only once nobody waits for it any more
            await door.session.close()
        self._fresh_until = time.monotonic() + REFRESH_SECONDS


@dataclass(frozen=True, slots=True)
class RemoteEngine:
    """What a shard needs of an engine, from whichever worker has time."""

    ask: Callable[[Draw], Drawn]
    """Asks the workers, and waits."""
    transform: Callable[[Transforming], Drawn]
    """The same, for what transforms make of images."""
    request_id: str
    latent_sizes: Mapping[str, int]
    precision: str
    batch: int
    """Samples that the device takes at once, whoever asked for them."""
    psi: float | None = None

    def generate(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Drawn:
        """Images of at most `batch` latents; they may share a batch with those of others."""
        size = max(batch, self.batch)
        return self.ask(Draw(model, z, labels, size, self.precision, self.request_id, self.psi))

    def latent_size(self, model: str) -> int:
        """Length of one latent, from the model's spec."""
        return self.latent_sizes[model]


def _session(address: str, token: str) -> ClientSession:
    local = address.startswith("unix:")
    return ClientSession(
        "http://worker" if local else address,
        connector=UnixConnector(address.removeprefix("unix:"), limit=0) if local else None,
        headers={"Authorization": f"Bearer {token}"},
        timeout=ClientTimeout(TIMEOUT_SECONDS),
    )


def _gone() -> UnavailableError:
    return UnavailableError(
        "The worker that was asked has gone. Try again in a second.", retry_after_seconds=1
    )


def _error_of(content: bytes) -> SynthloomError:
    """The error that the worker met, as the one it was."""
    try:
        problem = json.loads(content)
        slug, detail = problem["type"].rpartition("/")[2], problem["detail"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return SynthloomError("A worker gave an answer that the server does not understand.")
    for cls in tree():
        if cls.slug == slug:
            return cls(detail, retry_after_seconds=problem.get("retry_after"))
    return SynthloomError(detail)
