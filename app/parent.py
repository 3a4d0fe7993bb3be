"""End with the process that started this one, however that one ends, and show it signs of life.

Both go over standard input: all there is to read is at most one word, that we may begin, and its
end. Where it is a socket, what we write there arrives at the parent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time

SIGNS = 20
"""Signs of life in the time after which a silent process counts as hung."""


def stop_with_parent() -> threading.Event:
    """Watch standard input, which the parent holds open: when it closes, stop like on SIGTERM.

    The event is set when the parent sends a word.
    """
    word = threading.Event()
    threading.Thread(target=_watch, args=(word,), name="parent", daemon=True).start()
    return word


def show_life(hang_seconds: float) -> None:
    """Send signs of life to the parent, so often that silence for `hang_seconds` is none of ours.

    They come from a thread that needs nothing but the interpreter: a process that waits for the
    database, the disk or the device shows them, one that is stopped or stuck in C code does not.
    """
    pause = hang_seconds / SIGNS
    threading.Thread(target=_show_life, args=(pause,), name="life", daemon=True).start()


def _watch(word: threading.Event) -> None:
    # A socket whose other end died with signs unread is reset, not closed. Read by its descriptor:
    # the lock of a buffered reader that waits in a thread aborts an interpreter that shuts down.
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 1 << 10):
            word.set()
    os.kill(os.getpid(), signal.SIGTERM)


def _show_life(pause: float) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more: the other thread ends us
        while True:
            os.write(sys.stdin.fileno(), b".")
            time.sleep(pause)
