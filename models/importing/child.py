"""The process that reads a stranger's file. It is started for one file and has no way out.

In: one line of JSON on stdin (`Request` of `sandbox`), the file and the output as descriptors.
Out: one document of JSON on stdout. Everything is imported and every limit is in force before
the first byte of the file is read.
"""

from __future__ import annotations

import codecs
import importlib
import json
import os
import resource
import sys
from contextlib import suppress
from typing import Any, BinaryIO, Final

from models.importing import seccomp
from models.importing.errors import Kind, UnsupportedCheckpointError

TASKS: Final = {
    "convert": "models.importing.convert",
    "onnx": "models.importing.onnx_task",
    "onnx_trial": "models.importing.onnx_trial_task",
    "dataset": "models.corpus.task",
    "parquet_dataset": "models.corpus.parquet_task",
}
"""Task → module whose `run(source, output, options)` does it. Nothing else can be asked for."""

NOBODY: Final = 65534
CODECS: Final = ("ascii", "latin-1", "cp437", "utf-8", "raw-unicode-escape", "unicode-escape")
"""What zip archives and pickles spell text in; Python imports these when they are first used."""


def main() -> None:
    """Do the one task of this process, and end."""
    request = json.loads(sys.stdin.buffer.readline())
    layers = _leave(request)
    run = importlib.import_module(TASKS[request["task"]]).run
    for codec in CODECS:
        codecs.lookup(codec)
    source = os.fdopen(request["source"], "rb")
    output = os.fdopen(request["output"], "wb")
    status = _status()
    layers += _lock(request)
    answer = _answer(run, source, output, request["options"])
    answer["layers"] = layers
    answer["peak_bytes"] = _peak_bytes(status)
    document = json.dumps(answer, ensure_ascii=True, allow_nan=False).encode()
    sys.stdout.buffer.write(document)
    sys.stdout.buffer.flush()
    os._exit(0)  # no handlers at exit: they may want what is no longer allowed


def _leave(request: dict[str, Any]) -> list[str]:
    """What can be given up before the imports."""
    seccomp.die_with_parent()
    layers = []
    if seccomp.no_new_privileges():
        layers.append("no-new-privileges")
    if seccomp.not_dumpable():
        layers.append("not-dumpable")
    if seccomp.leave_network():
        layers.append("network-namespace")
    seconds = int(request["seconds"]) + 1
    _limit(resource.RLIMIT_CPU, seconds)
    _limit(resource.RLIMIT_FSIZE, request["output_bytes"])
    _limit(resource.RLIMIT_CORE, 0)
    return layers


def _lock(request: dict[str, Any]) -> list[str]:
    """What has to wait until everything is imported: memory, files, processes, system calls."""
    layers = []
    if _limit(resource.RLIMIT_AS, request["memory_bytes"] + request["imports_bytes"]):
        layers.append("memory")
    if os.geteuid() == 0 and _become_nobody():
        layers.append("user")
    if _limit(resource.RLIMIT_NOFILE, 0):
        layers.append("no-files")
    if not request["threads"] and _limit(resource.RLIMIT_NPROC, 0):
        layers.append("no-processes")
    if seccomp.install(request["threads"]):
        layers.append("system-calls")
    return layers


def _status() -> int | None:
    """The kernel's account of this process, opened while files can be opened. Linux only."""
    with suppress(OSError):
        return os.open("/proc/self/status", os.O_RDONLY)
    return None


def _peak_bytes(status: int | None) -> int:
    """Most memory held so far (getrusage would count the parent's, from before the exec)."""
    if status is not None:
        os.lseek(status, 0, os.SEEK_SET)
        for line in os.read(status, 1 << 16).splitlines():
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _become_nobody() -> bool:
    """Root gives its rights up; the descriptors stay open."""
    with suppress(OSError, AttributeError):  # not every system has them
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        seccomp.die_with_parent()  # a change of user takes it away
        return True
    return False


def _limit(what: int, value: int) -> bool:
    with suppress(OSError, ValueError):
        hard = resource.getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (value, value))
        return True
    return False


def _answer(
    run: Any, source: BinaryIO, output: BinaryIO, options: dict[str, Any]
) -> dict[str, Any]:
    try:
        result = run(source, output, options)
        output.flush()
    except UnsupportedCheckpointError as error:
        return {"kind": error.kind.value, "detail": error.detail}
    except MemoryError:
        return {"kind": Kind.OUT_OF_MEMORY.value, "detail": ""}
    except Exception as error:
        # A file that an unforeseen way through the reader is found with: refused, and named.
        return {"kind": Kind.DAMAGED.value, "detail": f"unforeseen {type(error).__name__}"}
    return {"result": result}


if __name__ == "__main__":
    main()
