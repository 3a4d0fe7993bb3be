"""The child process of an attempt: `python -m app.runs.child FOLDER HANG_SECONDS`.

It has a folder and nothing else: no database, no key, no network. It ends with its worker, and when
it is told to stop it writes a checkpoint first, unless that takes too long.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any

from app.errors import JobError, RunError, StorageFullError, SynthloomError
from app.parent import show_life, stop_with_parent
from app.runs import messages
from app.runs.attempt import Stop, StopAskedError, Teller, Work, plain
from models.errors import ModelError

log = logging.getLogger(__name__)

NICENESS = 10
"""How far it stands back behind the service's own processes, which somebody waits for."""
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main(folder: Path, hang_seconds: float, work_of: Callable[[str], Work]) -> int:
    """Do what the folder says; the exit code.

    work_of: from the kind of a run to what does it.
    """
    os.nice(NICENESS)
    stop = Stop()
    stop.listen()
    stop_with_parent()
    show_life(hang_seconds)
    work = messages.read(folder, messages.WORK_FILE)
    assert work is not None, "the worker writes it before it starts us"
    try:
        result = work_of(work["kind"])(work, folder, stop, Teller(folder))
    except StopAskedError:
        return messages.STOPPED_EXIT_CODE
    except Exception as error:
        if stop.asked:  # what broke may have broken because everything ends
            log.exception("the attempt ends")
            return messages.STOPPED_EXIT_CODE
        messages.write(folder, messages.PROBLEM_FILE, plain(problem_of(error)))
        return 0
    messages.write(folder, messages.RESULT_FILE, plain(result))
    return 0


def problem_of(error: Exception) -> dict[str, Any]:
    """What a run says that fails by this error."""
    if isinstance(error, SynthloomError):
        return error.problem()
    if isinstance(error, ModelError):
        sentence = str(error).rstrip(".")
        return RunError(f"{sentence[:1].upper()}{sentence[1:]}.").problem()
    log.error("an error that nobody expected", exc_info=error)
    if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT):
        return StorageFullError("The disk is full. Free some space, then ask again.").problem()
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return RunError(
            "The machine's memory is too small for it. Take smaller images, a smaller batch or a "
            "smaller network."
        ).problem()
    return JobError(
        "The process met an error that it does not know; the worker's log has the details. Report "
        "it if it comes back."
    ).problem()


def leave(code: int) -> None:
    """End the process: threads that read or write our standard input never end by themselves."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _work_of(kind: str) -> Work:
    # Only now, because they load torch, which takes its time: signs of life come meanwhile.
    if kind == "training":
        from app.runs.train import train

        return train
    from app.runs.evaluate import evaluate

    return evaluate


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    leave(main(Path(sys.argv[1]), float(sys.argv[2]), _work_of))
