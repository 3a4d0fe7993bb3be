"""The child process of an attempt, as its worker holds it.

Each has a socket to the worker as its standard input: it ends when the worker does, and sends signs
of life, as workers do to their server (`app/parent.py`). What it says beside that are files.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import app
from app.runs.messages import LOG_FILE

START_PATIENCE = 10
"""A child may take so many times longer until its first sign than between two of them: importing
torch on a busy machine takes long."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Child:
    """A running attempt; used with `with`, which never leaves it alive.

    folder: where it works, and finds what to do. threads: of its computing libraries. module: what
    is run.
    """

    def __init__(
        self, folder: Path, threads: int, hang_seconds: float, module: str = "app.runs.child"
    ) -> None:
        self._ours, theirs = socket.socketpair()
        self._ours.setblocking(False)
        command = [sys.executable, "-P", "-m", module, str(folder), str(hang_seconds)]
        with theirs, (folder / LOG_FILE).open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=_environment(threads),
                start_new_session=True,  # Ctrl-C is for the worker, which stops it with patience
            )
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._ours.close()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def code(self) -> int | None:
        """Its exit code; negative for the signal that ended it."""
        return self._process.poll()

    def patience(self, seconds: float) -> float:
        """How long its silence is no matter, where that is `seconds` once it has begun."""
        return seconds if self._begun else START_PATIENCE * seconds

    def gave_sign(self) -> bool:
        """Whether there was a sign of life since the last call."""
        heard = False
        with suppress(BlockingIOError, ConnectionResetError):
            while self._ours.recv(1 << 12):
                heard = self._begun = True
        return heard

    def wait(self, seconds: float) -> bool:
        """Wait for its end, at most so long; whether it has come."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, seconds: float) -> None:
        """Have it write a checkpoint and end; kill it when that takes longer."""
        if self.running:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """End it and whatever it has started."""
        if self.running:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _environment(threads: int) -> dict[str, str]:
    """The worker's without its settings, among which are secrets; a child needs none of them."""
    environment = {k: v for k, v in os.environ.items() if not k.upper().startswith("SYNTHLOOM_")}
    package = str(Path(str(app.__file__)).absolute().parents[1])
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = package + (os.pathsep + inherited if inherited else "")
    environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    environment["OMP_WAIT_POLICY"] = "PASSIVE"  # spinning would take the processor from the worker
    return environment
