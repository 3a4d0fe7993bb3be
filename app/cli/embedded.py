"""The service as a child process, for the length of one command."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx

import app
from app.cli.failures import CommandError, ExitCode
from app.client import connection_options, reason_of

START_SECONDS = 120.0
STOP_SECONDS = 20.0
LOOK_SECONDS = 0.05
LOOK_LIMIT_SECONDS = 10.0
LOG_NAME = "service.log"

# Of the caller's settings only those that say how to compute; where to keep things is ours.
KEPT_SETTINGS = {
    "SYNTHLOOM_BATCH_LINGER_SECONDS",
    "SYNTHLOOM_C2PA_ALGORITHM",
    "SYNTHLOOM_C2PA_CERTIFICATE",
    "SYNTHLOOM_C2PA_KEY",
    "SYNTHLOOM_CPU_STREAMS",
    "SYNTHLOOM_DEVICE",
    "SYNTHLOOM_ENCODE_THREADS",
    "SYNTHLOOM_ENGINE_BATCH",
    "SYNTHLOOM_PRECISION",
    "SYNTHLOOM_RESIDENT_BYTES",
    "SYNTHLOOM_SHARD_CONCURRENCY",
    "SYNTHLOOM_SHARD_SAMPLES",
    "SYNTHLOOM_TRAINING_THREADS",
    "SYNTHLOOM_WEBHOOK_ATTEMPTS",
    "SYNTHLOOM_WEBHOOK_BACKOFF_SECONDS",
    "SYNTHLOOM_WEBHOOK_PRIVATE_ADDRESSES",
    "SYNTHLOOM_WEBHOOK_SECRET",
}

_FILES = {"SYNTHLOOM_C2PA_CERTIFICATE", "SYNTHLOOM_C2PA_KEY"}


@dataclass(frozen=True)
class Running:
    """A service that is ready."""

    url: str
    api_key: str
    data_folder: Path


@contextmanager
def embedded_service(data_folder: Path | None) -> Iterator[Running]:
    """Runs `synthloom serve` on a free loopback port, and always stops it.

    Without a data folder it works in a temporary one, which is removed afterwards.
    """
    with contextlib.ExitStack() as stack:
        if data_folder is None:
            temporary = tempfile.TemporaryDirectory(prefix="synthloom-", ignore_cleanup_errors=True)
            data_folder = Path(stack.enter_context(temporary))
        data_folder = data_folder.absolute()
        data_folder.mkdir(parents=True, exist_ok=True)
        (data_folder / "server.json").unlink(missing_ok=True)
        stack.enter_context(_ended_like_ctrl_c())
        child = _start(data_folder)
        stack.callback(_stop, child)
        yield _await_ready(child, data_folder)


def serve_command(data_folder: Path) -> list[str]:
    """What is run, on a free port of the loopback interface.

    It ends when its standard input does: with this process, however that one ends.
    """
    place = ["--data", str(data_folder), "--host", "127.0.0.1", "--port", "0", "--supervised"]
    return [sys.executable, "-m", "app.cli", "serve", *place]


def _start(data_folder: Path) -> subprocess.Popen[bytes]:
    with (data_folder / LOG_NAME).open("wb") as log:
        return subprocess.Popen(
            serve_command(data_folder),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Its own folder keeps a .env of the caller out, its own session the caller's Ctrl-C.
            cwd=data_folder,
            env=_environment(),
            start_new_session=True,
        )


def _environment() -> dict[str, str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("SYNTHLOOM_") or name.upper() in KEPT_SETTINGS
    }
    for name in _FILES & environment.keys():  # the service works in another folder
        environment[name] = str(Path(environment[name]).absolute())
    package = str(Path(str(app.__file__)).absolute().parents[1])
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = package + (os.pathsep + inherited if inherited else "")
    return environment


def _await_ready(child: subprocess.Popen[bytes], data_folder: Path) -> Running:
    deadline = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        url = recorded_url(data_folder)
        if url is not None and has_worker(url):
            api_key = (data_folder / "api-key").read_text().strip()
            return Running(url, api_key, data_folder)
        time.sleep(LOOK_SECONDS)
    outcome = "did not get ready in time" if child.poll() is None else "ended while it started"
    raise CommandError(
        f"The embedded service {outcome} ({_last_line(data_folder / LOG_NAME)}); run "
        "`synthloom serve` in another terminal to see why.",
        ExitCode.UNREACHABLE,
    )


def _stop(child: subprocess.Popen[bytes]) -> None:
    """SIGTERM, which the service passes on to its workers; the whole group if that fails."""
    if child.stdin is not None:
        child.stdin.close()
    if child.poll() is None:
        child.terminate()
    try:
        clean = child.wait(STOP_SECONDS) == 0
    except subprocess.TimeoutExpired:
        clean = False
    except KeyboardInterrupt:
        _kill_group(child)
        raise
    if not clean:
        _kill_group(child)


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """SIGTERM and a closed terminal unwind the command too, so that the child is stopped."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def recorded_url(data_folder: Path) -> str | None:
    """The address that a running service wrote into its data folder."""
    try:
        url = json.loads((data_folder / "server.json").read_text())["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return url if isinstance(url, str) else None


def silence(url: str) -> str:
    """Why no service answers there, in a few words; nothing when one does."""
    try:
        response = _get(f"{url}/livez")
    except httpx.RequestError as error:
        return reason_of(error)
    except httpx.InvalidURL:
        return "not an address"
    return "" if response.is_success else "something else answers there"


def has_worker(url: str) -> bool:
    """The service is ready, and so is a worker: what is submitted now is begun at once."""
    try:
        response = _get(f"{url}/readyz")
        return response.is_success and int(response.json()["workers"]) > 0
    except (httpx.RequestError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return False


def _get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=LOOK_LIMIT_SECONDS, **connection_options(url))


def _last_line(log: Path) -> str:
    try:
        text = log.read_bytes()[-4000:].decode("utf-8", "replace")
    except OSError:
        return "no log"
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no log")
