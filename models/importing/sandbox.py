"""The parent's side: a child reads the file, and only plain tensors and JSON come back.

What the child says is data from a stranger too: it is bounded and validated here, and nothing in
it is ever unpickled.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from pydantic import JsonValue, ValidationError

import models
from models.errors import CheckpointError
from models.files import WEIGHTS_FILE
from models.header import HEADER_BYTES_LIMIT, LENGTH_BYTES, parse_header
from models.importing.errors import Kind, UnsupportedCheckpointError
from models.importing.formats import identify
from models.importing.limits import Limits
from models.importing.report import Report

ANSWER_BYTES: Final = 32 << 20
WATCH_SECONDS: Final = 0.02

DEFAULT: Final = Limits()
PROGRAM: Final = (
    "import sys; sys.path[:] = sys.argv[1:]; from models.importing.child import main; main()"
)
ENVIRONMENT: Final = {
    "PATH": "",
    "LC_ALL": "C.UTF-8",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}


class Converted(NamedTuple):
    """A safetensors file that was made of the file, and what the file was.

    layers: which walls stood around the child; peak_bytes: memory it used at most.
    """

    weights: Path
    report: Report
    layers: tuple[str, ...]
    peak_bytes: int


class Answer(NamedTuple):
    """What a task gave back. `result` is JSON that its caller still has to validate."""

    result: Any
    layers: tuple[str, ...]
    peak_bytes: int


def convert(
    path: Path, workdir: Path, limits: Limits = DEFAULT, state: tuple[str, ...] | None = None
) -> Converted:
    """The tensors of a .pt, .pth or safetensors file as a new safetensors file in `workdir`.

    state: keys under which they are; the most likely place if none is given. Floats keep their
    type, but float64 becomes float32. Raises UnsupportedCheckpointError, and leaves nothing then.
    """
    weights = workdir / WEIGHTS_FILE
    options: dict[str, JsonValue] = {"state": None if state is None else list(state)}
    try:
        answer = run_in_sandbox("convert", path, weights, options, limits)
        report = Report.model_validate(answer.result)
        _check_weights(weights, report)
    except (ValidationError, CheckpointError) as error:
        weights.unlink(missing_ok=True)
        raise UnsupportedCheckpointError(Kind.CRASHED, "its answer was malformed") from error
    except BaseException:
        weights.unlink(missing_ok=True)
        raise
    return Converted(weights, report, answer.layers, answer.peak_bytes)


def run_in_sandbox(
    task: str,
    path: Path,
    output: Path,
    options: Mapping[str, JsonValue],
    limits: Limits = DEFAULT,
    imports_bytes: int = 0,
    threads: bool = False,
    checkpoint: bool = True,
) -> Answer:
    """Run one task of `child.TASKS` over the file at `path`; what it writes goes to `output`.

    imports_bytes: address space of the task's libraries; the others have room in
    `limits.memory_bytes`. threads: whether they need any. checkpoint: whether it shall be one; a
    file whose first bytes already say that it is none of ours then starts no process. Raises
    UnsupportedCheckpointError.
    """
    with _opened(path, limits) as (source, size):
        if checkpoint:
            identify(source, size)
        with tempfile.TemporaryDirectory(prefix="import-", dir=output.parent) as folder:
            made = Path(folder) / "output"
            with made.open("xb") as sink:
                request = {
                    "task": task, "source": source.fileno(), "output": sink.fileno(),
                    "seconds": limits.seconds, "memory_bytes": limits.memory(size),
                    "imports_bytes": imports_bytes, "output_bytes": limits.output(size),
                    "threads": threads,
                    "options": {**options, "size": size, "limits": asdict(limits)},
                }  # fmt: skip
                answer = _ask(request, folder, limits, limits.memory(size) + imports_bytes)
            made.replace(output)
        return answer


@contextmanager
def _opened(path: Path, limits: Limits) -> Iterator[tuple[BinaryIO, int]]:
    """The file, if it is a regular one of an allowed size. Pipes and devices are not waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise UnsupportedCheckpointError(Kind.NO_FILE) from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise UnsupportedCheckpointError(Kind.NO_FILE)
    with os.fdopen(handle, "rb") as source:
        if status.st_size > limits.file_bytes:
            raise UnsupportedCheckpointError(
                Kind.TOO_LARGE, f"{status.st_size} bytes; at most {limits.file_bytes}"
            )
        yield source, status.st_size


def _ask(request: dict[str, Any], folder: str, limits: Limits, memory: int) -> Answer:
    """Start the child, wait for its answer, and see that it ends."""
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-W", "ignore", "-c", PROGRAM, *_import_paths()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=ENVIRONMENT,
        pass_fds=(request["source"], request["output"]),
        start_new_session=True,
    )
    with child:
        try:
            said = _listen(child, json.dumps(request).encode() + b"\n", limits.seconds, memory)
            child.wait(timeout=limits.seconds)
        except subprocess.TimeoutExpired as error:
            raise UnsupportedCheckpointError(Kind.OUT_OF_TIME, "it does not end") from error
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
    return _understood(said)


def _import_paths() -> list[str]:
    """Where the child may import from: this package's folder, then the parent's own paths."""
    own = str(Path(models.__file__).parents[1])
    return [own, *(entry for entry in sys.path if entry and Path(entry).is_absolute())]


def _listen(child: subprocess.Popen[bytes], request: bytes, seconds: float, memory: int) -> bytes:
    """The child's answer; its time and its memory are watched meanwhile."""
    assert child.stdin is not None
    assert child.stdout is not None
    deadline = time.monotonic() + seconds
    with suppress(BrokenPipeError):
        child.stdin.write(request)
        child.stdin.close()
    said = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if time.monotonic() > deadline:
                raise UnsupportedCheckpointError(Kind.OUT_OF_TIME, f"{seconds:g} s")
            if resident_bytes(child.pid) > memory:
                raise UnsupportedCheckpointError(Kind.OUT_OF_MEMORY)
            if not selector.select(WATCH_SECONDS):
                continue
            chunk = os.read(child.stdout.fileno(), 1 << 16)
            said += chunk
            if not chunk:
                return bytes(said)
            if len(said) > ANSWER_BYTES:
                raise UnsupportedCheckpointError(Kind.CRASHED, "its answer has no end")


def resident_bytes(pid: int) -> int:
    """Memory that a process holds now; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _understood(said: bytes) -> Answer:
    try:
        document = json.loads(said)
        if "kind" in document:
            refusal = UnsupportedCheckpointError(Kind(document["kind"]), str(document["detail"]))
            refusal.peak_bytes = int(document["peak_bytes"])
            raise refusal
        layers = tuple(str(layer)[:40] for layer in document["layers"])
        return Answer(document["result"], layers, int(document["peak_bytes"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnsupportedCheckpointError(Kind.CRASHED) from error


def _check_weights(weights: Path, report: Report) -> None:
    """The child's file is safetensors, and holds exactly what the child says."""
    with weights.open("rb") as stream:
        length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
        stream.seek(0)
        head = stream.read(LENGTH_BYTES + min(length, HEADER_BYTES_LIMIT))
    entries = parse_header(head, weights.stat().st_size)
    found = [(name, entry.dtype, entry.shape) for name, entry in entries.items()]
    if found != [(row.name, row.dtype, row.shape) for row in report.tensors]:
        raise CheckpointError("the child's report is not that of its file")
