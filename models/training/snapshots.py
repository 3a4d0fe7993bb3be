"""The snapshots of a run: what each was judged, which stay, which is the best. Imports no torch.

`snapshots.json` has a row for each that was taken; folders of the best ones only. It is written
before the state that goes with it, so after a kill it may be ahead of the state; `rewind` takes
back what is done again.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from pydantic import Field

from models.files import SPEC_FILE, write_atomically
from models.spec import Frozen

LEDGER_FILE: Final = "snapshots.json"
FOLDER: Final = "snapshots"


class Judged(Frozen):
    """Figures of a snapshot on validation images.

    score: what decides, lower is better, about 0 for real images: `kid`, plus what label agreement
        and diversity lack to 1.
    kid: kernel distance between the judge's features of samples and of real images
        (Bińkowski et al. 2018); about 0 for equal distributions, and may be below.
    label_agreement: share of samples that the judge gives the class they were asked for.
    diversity: mean distance between samples of a class over that of its real images, in the
        judge's features; the mean over the classes.
    distinct: share of the samples that no other one equals pixel by pixel, one of each kept.
    """

    score: float
    kid: float
    label_agreement: float | None = None
    diversity: float | None = None
    distinct: float
    samples: int
    real_images: int


class Row(Frozen):
    """One snapshot; `judged` is missing in a run without validation images."""

    step: int = Field(ge=0)
    seconds: float
    judged: Judged | None = None

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"step-{self.step:07d}"


class Ledger(Frozen):
    """All snapshots of a run in the order of their steps."""

    rows: tuple[Row, ...] = ()


class Snapshots:
    """The snapshots in a run's folder."""

    def __init__(self, directory: Path, keep: int) -> None:
        self.directory = directory
        self.keep = keep
        path = directory / LEDGER_FILE
        ledger = Ledger.model_validate_json(path.read_bytes()) if path.exists() else Ledger()
        self.rows = ledger.rows

    @property
    def best(self) -> Row | None:
        """The lowest score; without scores, the last one."""
        return self._ranked()[0] if self.rows else None

    @property
    def last_step(self) -> int:
        """Step of the newest one, -1 before the first."""
        return self.rows[-1].step if self.rows else -1

    @property
    def since_best(self) -> int:
        """How many were taken after the best one."""
        best = self.best
        return 0 if best is None else len(self.rows) - 1 - self.rows.index(best)

    def folder(self, row: Row) -> Path:
        """Where the checkpoint of that snapshot is."""
        return self.directory / FOLDER / row.name

    def add(self, row: Row) -> None:
        """Remember a snapshot whose checkpoint is complete."""
        self._write((*self.rows, row))

    def rewind(self, step: int) -> None:
        """Forget snapshots beyond `step`: those steps have not happened any more."""
        self._write(tuple(row for row in self.rows if row.step <= step))
        self.prune()

    def prune(self) -> None:
        """Remove the folders of all but the best ones."""
        stay = {row.name for row in self._ranked()[: self.keep]}
        root = self.directory / FOLDER
        for folder in root.iterdir() if root.exists() else ():
            if folder.name not in stay:
                (folder / SPEC_FILE).unlink(missing_ok=True)  # no spec: no longer a checkpoint
                shutil.rmtree(folder)

    def _ranked(self) -> list[Row]:
        """The best first. Rows without a score are judged by their step: the later the better."""
        return sorted(self.rows, key=lambda row: row.judged.score if row.judged else -row.step)

    def _write(self, rows: tuple[Row, ...]) -> None:
        if rows != self.rows:
            self.rows = rows
            document = Ledger(rows=rows).model_dump_json(indent=1, exclude_none=True)
            write_atomically(self.directory / LEDGER_FILE, document.encode())
