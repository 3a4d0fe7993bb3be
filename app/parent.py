"""End with the process that started this one, however that one ends."""

from __future__ import annotations

import os
import signal
import sys
import threading


def stop_with_parent() -> None:
    """Watch standard input, a pipe from the parent: when it closes, stop like on SIGTERM."""
    threading.Thread(target=_watch, name="parent", daemon=True).start()


def _watch() -> None:
    while sys.stdin.buffer.read(1 << 10):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
