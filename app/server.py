"""`synthloom serve`: the API and its supervised workers, in one process tree."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from pathlib import Path

import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from app.data_folder import KEY_FILE
from app.errors import ConfigurationError
from app.garbage import lasting
from app.http_protocol import StrictHttp
from app.settings import Settings
from app.supervisor import Supervisor

log = logging.getLogger(__name__)

SERVER_FILE = "server.json"
GRACE_SECONDS = 10
LOOK_SECONDS = 0.02


def run_server(settings: Settings) -> None:
    """Prepare the database, and serve until SIGTERM or SIGINT; the workers end with the server."""
    listener = _listen(settings.host, settings.port)
    with listener, asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(_serve(settings, listener))


async def _serve(settings: Settings, listener: socket.socket) -> None:
    url = _url(listener)
    supervisor = Supervisor(settings)
    supervising = asyncio.create_task(supervisor.run(), name="supervisor")
    try:
        # In a thread, so that the workers are started first and load torch meanwhile.
        server = await asyncio.to_thread(_prepared, settings)
        supervisor.database_is_ready()
        supervising.add_done_callback(lambda task: _stop_loudly(task, server))
        announcing = asyncio.create_task(_announce(server, settings.data_dir, url), name="announce")
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn raises the signal again when it has stopped: a clean stop must exit with 0.
            signal.signal(number, lambda *_: None)
        try:
            await server.serve(sockets=[listener])
        finally:
            announcing.cancel()
    finally:
        await supervisor.stop()
        (settings.data_dir / SERVER_FILE).unlink(missing_ok=True)
    if supervising.done() and not supervising.cancelled() and supervising.exception():
        raise ConfigurationError("The supervisor of the workers broke; see the log above.")


def _prepared(settings: Settings) -> uvicorn.Server:
    """The API of a database that has its schema and its models."""
    with lasting():
        # Only here, while the workers load what is theirs: both take a second or more.
        from app.bootstrap import prepare
        from app.main import create_app

        prepare(settings)
        app = create_app(settings)
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=StrictHttp,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=GRACE_SECONDS,
            lifespan="on",
        )
    )


def _stop_loudly(task: asyncio.Task[None], server: uvicorn.Server) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("the supervisor broke; the server stops", exc_info=error)
        server.should_exit = True


async def _announce(server: uvicorn.Server, folder: Path, url: str) -> None:
    """Say where the server is, once it answers."""
    while not server.started:
        await asyncio.sleep(LOOK_SECONDS)
    part = folder / f"{SERVER_FILE}.part"
    part.write_text(json.dumps({"url": url, "pid": os.getpid()}) + "\n")
    part.replace(folder / SERVER_FILE)
    log.info("Synthloom answers at %s (API documentation: %s/docs)", url, url)
    if (folder / KEY_FILE).exists():
        log.info("Its key is in %s", folder / KEY_FILE)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, because asyncio turns Nagle's algorithm off for sockets of this protocol only; with it
    # on, an answer waits 40 ms for the acknowledgement of its own head.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"Nothing can listen on {host}, port {port}: {error.strerror}. Choose another with "
            "--host and --port; port 0 takes a free one."
        ) from error
    with contextlib.suppress(AttributeError):
        listener.set_inheritable(False)
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"
