"""The worker's door for requests that somebody waits for: HTTP on a socket of its own."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import anyio.to_thread
import numpy as np
import uvicorn
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.errors import ConfigurationError, SynthloomError, UnauthorizedError
from app.http_protocol import StrictHttp
from app.wire import (
    GENERATE_PATH,
    LABEL_PATH,
    PROBE_PATH,
    TRANSFORM_PATH,
    Drawn,
    Transforming,
    Tried,
    pack_drawn,
    pack_tried,
    pack_verdicts,
    unpack_draw,
    unpack_images,
    unpack_transforming,
)
from models.generator import Pixels
from models.spec import ModelSpec
from models.verdicts import Verdicts

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/vnd.synthloom.draw"
_UNIX = "unix:"
_EVERYWHERE = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - refused
_LONGEST_SOCKET_PATH = 100  # the kernel takes 107 bytes
THREADS = 128
"""Requests of the API that may wait for the device at a time."""


class Seat(Protocol):
    """The engine as one request sees it."""

    @property
    def environment(self) -> dict[str, str]:
        """Of the devices that drew the images so far."""

    def submit(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Future[Pixels]:
        """Ask for images; loads the model if it has to."""


class Engine(Protocol):
    """The engine, as far as waiting requests need it."""

    @property
    def resident(self) -> list[str]:
        """SHA-256 of the models that are loaded."""

    def for_request(self, request_id: str, precision: str, psi: float | None) -> Seat:
        """The engine as one request sees it."""

    def label(self, classifier: str, pixels: NDArray[np.uint8]) -> Verdicts:
        """The verdict of a classifier on each image."""


Try = Callable[[ModelSpec, str], Tried]
"""Tries a model that is not registered, whose weights are stored under a key."""
Transform = Callable[[Transforming], Drawn]
"""Does to drawn images what a job did to them."""


class GenerationServer:
    """Serves an engine from a thread, on a Unix socket or on a TCP address.

    listen: `host:port`; empty for a Unix socket in `folder`, which only this user can enter.
    `address` is where it can be reached, `token` what a caller must show: both go into the
    worker's row, so that whoever can read the database, and nobody else, can ask.
    """

    def __init__(
        self,
        engine: Engine,
        try_model: Try,
        transform: Transform,
        listen: str,
        folder: Path,
        worker_id: str,
    ) -> None:
        self._engine = engine
        self._try = try_model
        self._transform_images = transform
        self.token = secrets.token_urlsafe(24)
        if listen:
            self._socket, self.address = _tcp(listen)
        else:
            self._socket, self.address = _unix(_socket_path(folder, worker_id))
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._application(),
                http=StrictHttp,
                ws="none",
                log_config=None,
                access_log=False,
                lifespan="on",
            )
        )
        self._thread = threading.Thread(target=self._run, name="generation-server", daemon=True)

    def start(self) -> None:
        """Begin to serve; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving, and remove the socket."""
        self._server.should_exit = True
        self._thread.join(5.0)
        if self.address.startswith(_UNIX):
            Path(self.address.removeprefix(_UNIX)).unlink(missing_ok=True)

    def _run(self) -> None:
        # Not `run`: that one takes over the signals, which belong to the worker.
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            runner.run(self._server.serve(sockets=[self._socket]))

    def _application(self) -> Starlette:
        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
            yield

        return Starlette(
            routes=[
                Route(GENERATE_PATH, self._generate, methods=["POST"]),
                Route(LABEL_PATH, self._label, methods=["POST"]),
                Route(TRANSFORM_PATH, self._transform, methods=["POST"]),
                Route(PROBE_PATH, self._probe, methods=["POST"]),
            ],
            exception_handlers={SynthloomError: _problem},
            lifespan=lifespan,
        )

    async def _generate(self, request: Request) -> Response:
        self._check_token(request)
        draw = unpack_draw(await request.body())
        seat = self._engine.for_request(draw.source, draw.precision, draw.psi)
        submit = partial(seat.submit, draw.model, draw.z, draw.labels, draw.batch)
        # A thread only where the model has to be loaded first.
        resident = draw.model in self._engine.resident
        future = submit() if resident else await anyio.to_thread.run_sync(submit)
        made = await asyncio.wrap_future(future)
        drawn = Drawn(made.pixels, made.finite, seat.environment)
        return Response(pack_drawn(drawn), media_type=MEDIA_TYPE)

    async def _label(self, request: Request) -> Response:
        self._check_token(request)
        classifier, pixels = unpack_images(await request.body())
        verdicts = await anyio.to_thread.run_sync(self._engine.label, classifier, pixels)
        return Response(pack_verdicts(verdicts), media_type=MEDIA_TYPE)

    async def _transform(self, request: Request) -> Response:
        self._check_token(request)
        asked = unpack_transforming(await request.body())
        changed = await anyio.to_thread.run_sync(self._transform_images, asked)
        return Response(pack_drawn(changed), media_type=MEDIA_TYPE)

    async def _probe(self, request: Request) -> Response:
        self._check_token(request)
        asked = await request.json()
        spec, key = ModelSpec.model_validate(asked["spec"]), str(asked["key"])
        tried = await anyio.to_thread.run_sync(self._try, spec, key)
        return Response(pack_tried(tried), media_type=MEDIA_TYPE)

    def _check_token(self, request: Request) -> None:
        shown = request.headers.get("authorization", "")
        if not secrets.compare_digest(shown.encode(), f"Bearer {self.token}".encode()):
            raise UnauthorizedError("Only the service itself may ask a worker.")


def _tcp(listen: str) -> tuple[socket.socket, str]:
    host, _, port = listen.rpartition(":")
    if host in _EVERYWHERE:
        raise ConfigurationError(
            f"SYNTHLOOM_WORKER_LISTEN={listen} is no address that another machine could ask. Give "
            "the name under which this machine is reached, like gpu-3:0."
        )
    try:
        if int(port) not in range(1 << 16):
            raise ValueError("there is no such port")
        made = socket.create_server((host, int(port)))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"A worker can't listen on {listen!r}: {error}. Set SYNTHLOOM_WORKER_LISTEN to a "
            "host:port of this machine, or leave it empty for a Unix socket."
        ) from error
    # Named, because asyncio turns Nagle's algorithm off for sockets of this protocol only.
    made = socket.socket(made.family, made.type, socket.IPPROTO_TCP, fileno=made.detach())
    shown, used = made.getsockname()[:2]
    return made, f"http://[{shown}]:{used}" if ":" in shown else f"http://{shown}:{used}"


def _unix(path: Path) -> tuple[socket.socket, str]:
    for left in path.parent.glob("*.sock"):
        if left == path or _deserted(left):  # of a worker that was killed
            left.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    made.listen()  # at once: the worker's row may be read before the server's thread runs
    return made, f"{_UNIX}{path}"


def _deserted(path: Path) -> bool:
    """Whether nobody listens on a socket any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor:
        try:
            visitor.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _socket_path(folder: Path, worker_id: str) -> Path:
    name = f"{hashlib.sha256(worker_id.encode()).hexdigest()[:12]}.sock"
    if len(str(folder / name).encode()) > _LONGEST_SOCKET_PATH:
        folder = Path(tempfile.gettempdir()) / f"synthloom-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / name


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SynthloomError)
    body: dict[str, Any] = error.problem()
    return JSONResponse(body, error.status, media_type="application/problem+json")
