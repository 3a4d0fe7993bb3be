"""A training, in the child process of an attempt."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

from app.runs.attempt import Stop, StopAskedError, Teller, plain
from app.runs.messages import CHECKPOINT_FOLDER, CURVES_FILE, GRID_FILE
from models.corpus.read import read
from models.files import write_atomically
from models.training import progress
from models.training.callbacks import LOSS_FILE, Callback, Snapshot
from models.training.config import TrainingConfig
from models.training.progress import TrainingProgress
from models.training.record import curves
from models.training.session import PREVIEW_FILE, Outcome, TrainingInterruptedError, start
from models.training.snapshots import Judged, Snapshots

CURVE_SECONDS: Final = 5.0
STAGES: Final = {"preparing": "preparing", "training": "training", "finished": "finishing"}


def train(work: dict[str, Any], folder: Path, stop: Stop, tell: Teller) -> dict[str, Any]:
    """Train, or go on where the folder is, and leave the chosen checkpoint in it.

    Raises StopAskedError once the state is saved, and what the training raises.
    """
    config = TrainingConfig.model_validate(work["config"])
    tell("reading")
    images = read(
        Path(work["dataset"]["path"]), split=config.split, preprocessing=config.preprocessing
    )
    directory = folder / CHECKPOINT_FOLDER
    shown = Shown(directory, folder, config.keep, tell)
    try:
        outcome = start(config, images, directory, [shown], lambda: stop.asked)
    except TrainingInterruptedError as error:
        raise StopAskedError from error
    return _result(outcome, directory, folder)


def _result(outcome: Outcome, directory: Path, folder: Path) -> dict[str, Any]:
    """What a training is asked for afterwards, beside its checkpoint."""
    record = outcome.spec.training
    write_atomically(folder / GRID_FILE, (directory / PREVIEW_FILE).read_bytes())
    write_atomically(folder / CURVES_FILE, json.dumps(plain(record.get("curves") or {})).encode())
    return {
        "figures": outcome.spec.figures,
        "steps": outcome.progress.step,
        "chosen_step": outcome.chosen.step,
        "epochs": outcome.epochs,
        "seconds": outcome.progress.seconds,
        "ended": outcome.ended,
        "warnings": [finding.detail for finding in outcome.warnings],
    }


class Shown(Callback):
    """Puts what clients look at while a training goes where the service reads it."""

    def __init__(self, directory: Path, folder: Path, keep: int, tell: Teller) -> None:
        self._directory = directory
        self._folder = folder
        self._keep = keep
        self._tell = tell
        self._next = 0.0

    def snapshot(self, snapshot: Snapshot) -> None:
        grid = self._directory / progress.GRID_FILE
        write_atomically(self._folder / GRID_FILE, grid.read_bytes())
        self._next = 0.0

    def reported(self, progress: TrainingProgress) -> None:
        self._tell(
            STAGES.get(progress.state, progress.state),
            done=_done(progress),
            step=progress.step,
            steps=progress.steps,
            seconds=progress.seconds,
            seconds_left=progress.eta_seconds,
            losses=progress.losses,
            figures=_figures(progress.best),
            warnings=[finding.detail for finding in progress.warnings],
        )
        if time.monotonic() >= self._next:
            self._draw()
            self._next = time.monotonic() + CURVE_SECONDS

    def _draw(self) -> None:
        rows = Snapshots(self._directory, self._keep).rows
        found = plain(curves(self._directory / LOSS_FILE, rows))
        write_atomically(self._folder / CURVES_FILE, json.dumps(found).encode())


def _done(progress: TrainingProgress) -> float | None:
    """Which part of the whole is done, by the time that is left."""
    if progress.state == "finished":
        return 1.0
    if progress.eta_seconds is None:
        return None
    whole = progress.seconds + progress.eta_seconds
    return progress.seconds / whole if whole else None


def _figures(best: Judged | None) -> dict[str, float]:
    if best is None:
        return {}
    found = {"kid": best.kid, "label_agreement": best.label_agreement, "diversity": best.diversity}
    return {name: value for name, value in found.items() if value is not None}
