"""A task of the sandbox that tries to get out, and tells what it managed to do."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

ESCAPED = "/tmp/synthloom-escaped"
LIBRARY = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: int) -> None:
    if getattr(LIBRARY, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


ATTEMPTS: dict[str, Callable[[], Any]] = {
    "read a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "read its own memory": lambda: os.open("/proc/self/mem", os.O_RDWR),
    "write a file": lambda: os.open(ESCAPED, os.O_WRONLY | os.O_CREAT),
    "list a folder": lambda: list(Path("/").iterdir()),
    "make a folder": lambda: Path(ESCAPED).mkdir(),
    "delete": lambda: Path("/etc/hostname").unlink(),
    "rename": lambda: Path("/etc/hostname").rename(ESCAPED),
    "start a process": os.fork,
    "start a program": lambda: os.execv("/bin/true", ["true"]),
    "signal the parent": lambda: os.kill(os.getppid(), 0),
    "signal everybody": lambda: os.kill(-1, signal.SIGCONT),
    "open a socket": lambda: socket.socket(),
    "open a pair of sockets": lambda: socket.socketpair(),
    "map code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
    "take much memory": lambda: bytearray(2 << 30),
    "become root": lambda: os.setuid(0),
    "leave for another root": lambda: os.chroot("/"),
    "trace the parent": lambda: _call("ptrace", 16, os.getppid(), 0, 0),
    "unshare": lambda: _call("unshare", 0x10000000),
    "take the filter away": lambda: _call("prctl", 22, 0, 0, 0, 0),
    "more files": lambda: os.dup(0),
}


def run(source: Any, output: Any, options: Any) -> dict[str, Any]:
    """Names of the attempts that went through."""
    done = []
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
        except (OSError, MemoryError):
            continue
        done.append(name)
    return {"done": done, "tried": len(ATTEMPTS), "environment": dict(os.environ)}
