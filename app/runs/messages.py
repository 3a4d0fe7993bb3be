"""What a worker and the child process of an attempt say to each other: files in its folder.

Each is JSON, and appears whole. The child reads what to do and writes how far it is, and at its end
a result or a problem.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from models.files import write_atomically

WORK_FILE: Final = "work.json"
PROGRESS_FILE: Final = "progress.json"
RESULT_FILE: Final = "result.json"
PROBLEM_FILE: Final = "problem.json"
LOG_FILE: Final = "child.log"
GRID_FILE: Final = "grid.png"
CURVES_FILE: Final = "curves.json"
EVALUATION_FOLDER: Final = "evaluation"
REPORT_HTML: Final = "report.html"
REPORT_JSON: Final = "report.json"
CHECKPOINT_FOLDER: Final = "model"
"""Where a training works, and leaves the checkpoint that it has chosen."""
KEPT: Final = frozenset({LOG_FILE, GRID_FILE, CURVES_FILE, EVALUATION_FOLDER})
"""What stays of the last attempt when a run has succeeded or failed."""
LARGEST_PROGRESS: Final = 64 << 10
STOPPED_EXIT_CODE: Final = 75
"""EX_TEMPFAIL of sysexits: told to stop, a checkpoint is written."""


def write(folder: Path, name: str, document: dict[str, Any]) -> None:
    """Put a message into the folder."""
    write_atomically(folder / name, json.dumps(document).encode())


def read(folder: Path, name: str) -> dict[str, Any] | None:
    """A message, if it is there."""
    try:
        document: dict[str, Any] = json.loads((folder / name).read_bytes())
    except FileNotFoundError:
        return None
    return document


def progress_in(folder: Path) -> dict[str, Any] | None:
    """How far the child says it is; None where it has not said anything that can be used."""
    path = folder / PROGRESS_FILE
    try:
        if path.stat().st_size > LARGEST_PROGRESS:
            return None
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None
