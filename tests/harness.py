"""The real service as processes of its own, for tests: started, watched, stopped or killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from app.settings import Settings

START_SECONDS = 180.0
STOP_SECONDS = 40.0
PYTHON_OPTIONS = ("-W", "error::ResourceWarning", "-X", "faulthandler")
LOOK_SECONDS = 0.03
TERMINAL = ("succeeded", "failed", "cancelled")

Found = TypeVar("Found")


def wait_for(
    what: str, look: Callable[[], Found | None], seconds: float = 30.0, pause: float = LOOK_SECONDS
) -> Found:
    """The first truthy answer of `look`; an AssertionError that says `what` after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(pause)


class ServiceProcess:
    """`synthloom serve` or `synthloom worker`, with its log in a file."""

    def __init__(self, command: list[str], folder: Path, log_name: str, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log_path = folder / log_name
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *PYTHON_OPTIONS, "-m", "app.cli", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=_environment(settings),
            )

    @property
    def pid(self) -> int:
        """Of the process itself, not of its children."""
        return self.process.pid

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.log_path.read_text(errors="replace")

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def children(self) -> list[int]:
        """Pids of its child processes: the workers of a server."""
        return children_of(self.pid)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.running:
            self.process.terminate()
        return self.wait()

    def kill(self) -> int:
        """SIGKILL: nothing of it runs one instruction more."""
        if self.running:
            self.process.kill()
        return self.wait()

    def wait(self) -> int:
        """The exit code, once it has ended; it is killed when it does not end in time."""
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._abort()
            raise AssertionError(f"pid {self.pid} did not stop:\n{self.log[-16_000:]}") from None

    def _abort(self) -> None:
        """End it; the stacks of all its threads are in the log, unless it can't even die."""
        self.process.send_signal(signal.SIGABRT)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5.0)
        self.process.kill()
        self.process.wait()


class Server(ServiceProcess):
    """`synthloom serve` on a free port."""

    def __init__(self, data_dir: Path, workers: int = 1, **settings: Any) -> None:
        self.data_dir = data_dir
        command = ["serve", "--data", str(data_dir), "--port", "0", "--workers", str(workers)]
        super().__init__(command, data_dir, "server.log", **settings)
        self.url = ""

    def wait_ready(self, workers: int = 1, seconds: float = START_SECONDS) -> Server:
        """Until it answers, and so many workers have said that they live."""
        self.url = wait_for("server.json", lambda: self._checked(self._announced), seconds)
        with httpx.Client(base_url=self.url) as client:
            wait_for(
                f"{workers} workers",
                lambda: self._checked(lambda: ready_workers(client) >= workers),
                seconds,
            )
        return self

    @property
    def key(self) -> str:
        """The key of its data folder."""
        return (self.data_dir / "api-key").read_text().strip()

    def client(self) -> httpx.Client:
        """An authorised client; close it."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60.0, trust_env=False)

    def _announced(self) -> str | None:
        # A killed server leaves its file behind; only this process's announcement counts.
        path = self.data_dir / "server.json"
        if not path.exists():
            return None
        document = json.loads(path.read_text())
        return str(document["url"]) if document["pid"] == self.pid else None

    def _checked(self, look: Callable[[], Found]) -> Found:
        if not self.running:
            raise AssertionError(f"ended with {self.process.returncode}:\n{self.log[-4000:]}")
        return look()


def ready_workers(client: httpx.Client) -> int:
    """How many workers `/readyz` counts; -1 while it is not ready."""
    try:
        answer = client.get("/readyz")
    except httpx.TransportError:
        return -1
    return int(answer.json()["workers"]) if answer.status_code == 200 else -1


@contextmanager
def serving(data_dir: Path, workers: int = 1, **settings: Any) -> Iterator[Server]:
    """A ready server for the length of a block; it must still run at its end, and stop cleanly."""
    server = Server(data_dir, workers, **settings)
    try:
        yield server.wait_ready(workers)
        assert server.running, server.log[-4000:]
    except BaseException:
        server.kill()
        raise
    assert server.stop() == 0, server.log[-4000:]


def worker(data_dir: Path, name: str, **settings: Any) -> ServiceProcess:
    """`synthloom worker` on the database and storage of a data folder."""
    command = ["worker", "--data", str(data_dir), "--name", name]
    return ServiceProcess(command, data_dir, f"worker-{name.replace('/', '-')}.log", **settings)


@dataclass(frozen=True)
class Ended:
    """A job that has ended, and the states that were seen on the way."""

    job: dict[str, Any]
    states: tuple[str, ...]


def submit(client: httpx.Client, body: dict[str, Any], key: str | None = None) -> dict[str, Any]:
    """A new job."""
    headers = {"Idempotency-Key": key} if key else {}
    answer = client.post("/v1/jobs", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def follow(
    client: httpx.Client, job_id: str, seconds: float = 120.0, pause: float = LOOK_SECONDS
) -> Ended:
    """Poll a job until it has ended."""
    states: list[str] = []

    def look() -> dict[str, Any] | None:
        answer = client.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        if not states or states[-1] != job["state"]:
            states.append(job["state"])
        return job if job["state"] in TERMINAL else None

    return Ended(wait_for(f"the end of {job_id}", look, seconds, pause), tuple(states))


def follow_run(
    client: httpx.Client, view: dict[str, Any], seconds: float = 240.0
) -> dict[str, Any]:
    """Poll a training or an evaluation until it has ended."""

    def look() -> dict[str, Any] | None:
        answer = client.get(view["links"]["self"])
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found if found["state"] in TERMINAL else None

    return wait_for(f"the end of {view['id']}", look, seconds, pause=0.3)


def run_job(
    client: httpx.Client,
    body: dict[str, Any],
    seconds: float = 120.0,
    pause: float = LOOK_SECONDS,
) -> dict[str, Any]:
    """Submit a job, and return it once it has succeeded."""
    job = follow(client, submit(client, body)["id"], seconds, pause).job
    assert job["state"] == "succeeded", job["problem"]
    return job


def rows_of(client: httpx.Client, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Every row of a job's manifest, as NDJSON."""
    answer = client.get(f"{job['links']['manifest']}.ndjson")
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def children_of(pid: int) -> list[int]:
    """Pids of the live child processes of a process, from /proc."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(folder.name))
    return sorted(found)


def end(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal one process that a test has started."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _environment(settings: dict[str, Any]) -> dict[str, str]:
    """The caller's environment without its SYNTHLOOM_*; the given settings instead."""
    unknown = set(settings) - set(Settings.model_fields)
    assert not unknown, f"no such settings: {unknown}"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SYNTHLOOM_")}
    return inherited | {f"SYNTHLOOM_{k.upper()}": str(v) for k, v in settings.items()}
