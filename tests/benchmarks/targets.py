"""Servers under measurement: Synthloom, and the rivals, each started fresh for each round."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.clients import SEED
from tests.benchmarks.networks import Network, register
from tests.benchmarks.rivals.maker import CHECKPOINT, MOST_REQUESTS
from tests.harness import serving, wait_for

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / "build" / "bench-env"
REQUEST = 16
"""Samples of a request."""
BATCH = MOST_REQUESTS * REQUEST
START_SECONDS = 180.0
LABELS = [k // 4 for k in range(REQUEST)]
"""Four samples of each of four classes."""


@dataclass(frozen=True)
class Target:
    """Where a server is asked, and how its answers are read."""

    port: int
    path: str
    body: str
    images: Callable[[bytes], NDArray[np.uint8]]
    headers: Mapping[str, str] = field(default_factory=dict)

    def check(self, network: Network) -> None:
        """One request: the answer must hold its images, and another seed must give others."""
        first, second = (self.sample(seed) for seed in (1, 2))
        wanted = (REQUEST, network.side, network.side, network.channels)
        assert first.reshape(wanted).shape == wanted
        assert not np.array_equal(first, second)

    def sample(self, seed: int) -> NDArray[np.uint8]:
        """The pixels of one request."""
        with httpx.Client(trust_env=False, timeout=60.0) as client:
            answer = client.post(
                f"http://127.0.0.1:{self.port}{self.path}",
                content=self.body.replace(SEED, str(seed)),
                headers={"Content-Type": "application/json", **self.headers},
            )
        answer.raise_for_status()
        return self.images(answer.content)


Open = Callable[[Network, Path, Path], AbstractContextManager[Target]]
"""(network, its checkpoint, a folder to work in) → the running server."""


@contextmanager
def synthloom(network: Network, checkpoint: Path, folder: Path) -> Iterator[Target]:
    """The real service: API, key, worker process; batches as the rivals have them."""
    register(folder, checkpoint)
    body = {
        "model": network.name,
        "samples_per_class": {f"class-{k:04d}": LABELS.count(k) for k in sorted(set(LABELS))},
        "seed": SEED,
    }
    with serving(folder, engine_batch=BATCH) as server:
        yield Target(
            port=httpx.URL(server.url).port or 80,
            path="/v1/samples",
            body=_text(body),
            images=_npz_images,
            headers={"Authorization": f"Bearer {server.key}", "Accept": "application/x-npz"},
        )


@dataclass(frozen=True)
class Rival:
    """Another server. `command` has its port as `{port}`; the requirement is pinned."""

    requirement: str
    command: tuple[str, ...]
    images: Callable[[bytes], NDArray[np.uint8]]
    listed: bool = False
    """Whether a request is a list of one, as batched endpoints of BentoML want it."""

    @contextmanager
    def open(self, network: Network, checkpoint: Path, folder: Path) -> Iterator[Target]:
        """Start it, wait until it answers, and end it with all its processes."""
        port = _free_port()
        folder.mkdir(parents=True, exist_ok=True)
        ask: object = {"seed": SEED, "labels": LABELS}
        target = Target(
            port=port,
            path="/predict",
            body=_text({"requests": [ask]} if self.listed else ask),
            images=self.images,
        )
        with (folder / "rival.log").open("ab") as log:
            process = subprocess.Popen(
                [part.format(port=port) for part in (str(self._python()), *self.command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                # Not a session: Linux shares out the processor by sessions (sched(7), autogroup).
                process_group=0,
                env=_environment(checkpoint, folder),
            )
        try:
            wait_for("the rival", lambda: _answers(target, process), START_SECONDS, pause=0.2)
            yield target
        finally:
            _end(process)

    def install(self) -> bool:
        """Its environment, made at the first call; False when it can't be had here.

        What the project has already, torch above all, is not installed again: the environment
        looks into the project's own after itself.
        """
        folder = ENVIRONMENTS / self.requirement.partition("=")[0].partition("[")[0]
        ready = folder / f".{self.requirement}"
        if ready.exists():
            return True
        venv.create(folder, with_pip=True, clear=True)
        command = [
            str(folder / "bin" / "python"),
            "-I",
            "-m",
            "pip",
            "install",
            "-q",
            self.requirement,
        ]
        if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
            return False
        [packages] = folder.glob("lib/python*/site-packages")
        (packages / "project.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
        ready.touch()
        return True

    def _python(self) -> Path:
        name = self.requirement.partition("=")[0].partition("[")[0]
        return ENVIRONMENTS / name / "bin" / "python"


RIVALS: Mapping[str, Rival] = {
    "litserve": Rival(
        "litserve==0.2.19",
        ("-m", "tests.benchmarks.rivals.litserve_app", "{port}"),
        lambda body: np.frombuffer(body, np.uint8),
    ),
    "bentoml": Rival(
        "bentoml==1.4.40",
        (
            *("-m", "bentoml", "serve", "tests.benchmarks.rivals.bentoml_app:Sampler"),
            *("--host", "127.0.0.1", "--port", "{port}"),
        ),
        lambda body: np.frombuffer(base64.b64decode(json.loads(body)[0]), np.uint8),
        listed=True,
    ),
    "ray": Rival(
        "ray[serve]==2.60.0",
        ("-m", "tests.benchmarks.rivals.ray_app", "{port}"),
        lambda body: np.frombuffer(body, np.uint8),
    ),
}


@contextmanager
def echo(size: int) -> Iterator[int]:
    """The port of a server that answers `size` bytes to everything."""
    port = _free_port()
    command = [sys.executable, "-m", "tests.benchmarks.echo", str(port), str(size)]
    process = subprocess.Popen(command)
    try:
        wait_for("the echo", lambda: _listens(port), START_SECONDS)
        yield port
    finally:
        process.terminate()
        process.wait()


def _npz_images(body: bytes) -> NDArray[np.uint8]:
    images: NDArray[np.uint8] = np.load(io.BytesIO(body))["images"]
    return images


def _text(body: object) -> str:
    """JSON in which the seed's mark stands where a number will be."""
    return json.dumps(body).replace(f'"{SEED}"', SEED)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as visitor:
        return visitor.connect_ex(("127.0.0.1", port)) == 0


def _answers(target: Target, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the rival ended with {process.returncode}; see its log")
    try:
        target.sample(0)
    except httpx.HTTPError:
        return False
    return True


def _environment(checkpoint: Path, folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SYNTHLOOM_")}
    return kept | {
        "PYTHONPATH": str(ROOT),
        CHECKPOINT: str(checkpoint),
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to it, SIGKILL to what is left of its group: all of it is ours."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
