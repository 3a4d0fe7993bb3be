"""What the work of an attempt is given: whether it shall stop, and how it tells how far it is."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from types import FrameType
from typing import Any

from app.runs import messages
from app.runs.messages import PROGRESS_FILE

STOP_SECONDS = 8.0
"""From being told to stop to the end, with or without a checkpoint."""
TELL_SECONDS = 0.5


class StopAskedError(BaseException):
    """The process shall end; what it would go on from is written."""


class Stop:
    """Whether the process was told to stop. It ends in any case after `STOP_SECONDS`."""

    def __init__(self) -> None:
        self.asked = False

    def listen(self) -> None:
        """Be told by SIGTERM."""
        signal.signal(signal.SIGTERM, self._ask)

    def check(self) -> None:
        """Raises StopAskedError when it was."""
        if self.asked:
            raise StopAskedError

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        timer = threading.Timer(STOP_SECONDS, os._exit, [messages.STOPPED_EXIT_CODE])
        timer.daemon = True
        timer.start()


class Teller:
    """Tells the worker how far the work is, now and then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next = 0.0
        self._stage = ""

    def __call__(self, stage: str, **members: Any) -> None:
        """stage: what is done now, in a few words. A new one is told at once, and so is the end."""
        early = stage == self._stage and members.get("done") != 1.0
        if early and time.monotonic() < self._next:
            return
        self._stage = stage
        messages.write(self._folder, PROGRESS_FILE, plain({"stage": stage, **members}))
        self._next = time.monotonic() + TELL_SECONDS


def plain(value: Any) -> Any:
    """Numbers that JSON and every database know: what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value


Work = Callable[[dict[str, Any], Path, Stop, Teller], dict[str, Any]]
"""From what is to be done, in a folder, to the result."""
