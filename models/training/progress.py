"""How a run stands, as a file that another process reads: progress.json. Imports no torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, Literal

from models.errors import TrainingError
from models.files import write_atomically
from models.spec import Frozen
from models.training.health import Finding
from models.training.snapshots import Judged

PROGRESS_FILE: Final = "progress.json"
GRID_FILE: Final = "grid.png"

State = Literal["preparing", "training", "finished", "interrupted", "failed"]
Ending = Literal["steps", "minutes", "patience", "diverged", "interrupted"]


class TrainingProgress(Frozen):
    """A run as it stood at `updated`.

    preparing: the judge learns; no step was done yet.
    interrupted: told to stop; the same command goes on. failed: `error` says why.
    steps: None where only minutes end the run.
    seconds: of work so far, over all attempts. eta_seconds: left, by the pace so far.
    losses: their means over the last steps. figures: of the newest snapshot, best: of the best.
    ended: what ended a finished run.
    updated: seconds since 1970.
    """

    state: State
    name: str
    architecture: str
    step: int = 0
    steps: int | None = None
    epochs: float = 0.0
    seconds: float = 0.0
    eta_seconds: float | None = None
    losses: dict[str, float] = {}
    snapshots: int = 0
    figures: Judged | None = None
    best: Judged | None = None
    best_step: int | None = None
    warnings: tuple[Finding, ...] = ()
    ended: Ending | None = None
    error: str | None = None
    updated: float = 0.0

    def write(self, directory: Path) -> None:
        """Put it into the run's folder, whole."""
        stamped = self.model_copy(update={"updated": round(time.time(), 3)})
        write_atomically(directory / PROGRESS_FILE, stamped.model_dump_json(indent=1).encode())


def read_progress(directory: Path) -> TrainingProgress | None:
    """What the run in that folder last wrote; None before it wrote anything."""
    path = directory / PROGRESS_FILE
    try:
        return TrainingProgress.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise TrainingError(f"{path.name} is no progress of a training") from error
