"""What is told of a run while it goes: log lines, a loss table, a progress bar, sample grids."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from models.files import write_atomically
from models.generator import Generator, sample
from models.latents import normal
from models.spec import ModelSpec
from models.training.health import Finding
from models.training.progress import GRID_FILE, TrainingProgress
from models.training.snapshots import Row
from models.training.state import Progress

logger = logging.getLogger(__name__)

LOSS_FILE: Final = "losses.csv"
SHEET_FILE: Final = "samples.png"


class Snapshot(NamedTuple):
    """A checkpoint of the averaged generator that was just saved, and what it was judged."""

    folder: Path
    spec: ModelSpec
    average: Generator
    row: Row


class Callback:
    """Hears of a run; each method does nothing unless a subclass says otherwise."""

    def begin(self, step: int, steps: int | None) -> None:
        """Before the first step, and again after going back: steps done already, steps in all.

        Without a number of steps the minutes end the run.
        """

    def step(self, progress: Progress, losses: Mapping[str, float]) -> None:
        """After each step."""

    def snapshot(self, snapshot: Snapshot) -> None:
        """After the averaged generator was saved and judged."""

    def found(self, finding: Finding) -> None:
        """Something is wrong with the run."""

    def reported(self, progress: TrainingProgress) -> None:
        """Now and then, and at the end: how the run stands."""

    def end(self) -> None:
        """After the last step, also when the run fails."""


class LossTable(Callback):
    """Means of the losses over every so many steps: a CSV file, and a log line now and then."""

    def __init__(self, path: Path, every: int = 20, log_seconds: float = 30.0) -> None:
        self.path = path
        self.every = every
        self.log_seconds = log_seconds
        self.steps: int | None = None
        self._sums: dict[str, float] = {}
        self._count = 0
        self._logged = time.monotonic()

    def begin(self, step: int, steps: int | None) -> None:
        self.steps = steps
        self._sums, self._count = {}, 0
        if not self.path.exists():
            return
        rows = read_rows(self.path)
        if not rows:
            self.path.unlink()
            return
        kept = [row for row in rows[1:] if int(row[0]) <= step]  # the others never happened
        text = io.StringIO()
        csv.writer(text).writerows([*rows[:1], *kept])
        write_atomically(self.path, text.getvalue().encode())

    def step(self, progress: Progress, losses: Mapping[str, float]) -> None:
        for name, loss in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + loss
        self._count += 1
        if progress.step % self.every == 0:
            self._write(progress)

    def _write(self, progress: Progress) -> None:
        means = {name: total / self._count for name, total in self._sums.items()}
        fresh = not self.path.exists()
        with self.path.open("a", newline="") as stream:
            table = csv.writer(stream)
            if fresh:
                table.writerow(["step", "seconds", *means])
            rounded = [f"{mean:.5f}" for mean in means.values()]
            table.writerow([progress.step, f"{progress.seconds:.1f}", *rounded])
        if time.monotonic() - self._logged >= self.log_seconds:
            self._logged = time.monotonic()
            text = " ".join(f"{name} {mean:.3f}" for name, mean in means.items())
            whole = "" if self.steps is None else f"/{self.steps}"
            logger.info("step %d%s %.0f s %s", progress.step, whole, progress.seconds, text)
        self._sums, self._count = {}, 0


def read_rows(path: Path) -> list[list[str]]:
    """Head and rows of a loss table; a last row that a kill cut short is left out."""
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        head, *rows = [row for row in csv.reader(stream) if row] or [[]]
    if head[:2] != ["step", "seconds"]:
        return []
    return [head, *(row for row in rows if len(row) == len(head) and row[0].isdigit())]


class ProgressBar(Callback):
    """A bar on the terminal with the time that is left."""

    def __init__(self, minutes: float | None = None) -> None:
        self.bar = Bar(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(),
        )  # fmt: skip
        self.seconds = None if minutes is None else round(minutes * 60)
        self.by_time = False
        self.task = self.bar.add_task("training", total=None)

    def begin(self, step: int, steps: int | None) -> None:
        self.by_time = steps is None
        total = self.seconds if self.by_time else steps
        self.bar.update(self.task, completed=0 if self.by_time else step, total=total)
        self.bar.start()

    def step(self, progress: Progress, losses: Mapping[str, float]) -> None:
        done = round(progress.seconds) if self.by_time else progress.step
        self.bar.update(self.task, completed=done)

    def end(self) -> None:
        self.bar.stop()


class Log(Callback):
    """Log lines about snapshots and findings."""

    def snapshot(self, snapshot: Snapshot) -> None:
        judged = snapshot.row.judged
        if judged is None:
            logger.info("%s saved", snapshot.row.name)
            return
        agreement = judged.label_agreement
        said = "" if agreement is None else f", label agreement {agreement:.3f}"
        logger.info("%s: score %.4f, KID %.4f%s", snapshot.row.name, judged.score, judged.kid, said)

    def found(self, finding: Finding) -> None:
        logger.warning("step %d, %s: %s", finding.step, finding.code, finding.detail)


class SampleGrid(Callback):
    """A PNG beside each snapshot, and the newest as grid.png: a class a row, the same latents."""

    def __init__(self, directory: Path | None = None, columns: int = 10) -> None:
        self.directory = directory
        self.columns = columns

    def snapshot(self, snapshot: Snapshot) -> None:
        path = snapshot.folder / SHEET_FILE
        write_contact_sheet(path, snapshot.average, self.columns)
        if self.directory is not None:
            write_atomically(self.directory / GRID_FILE, path.read_bytes())


class Reporter(Callback):
    """progress.json, every other second and after each snapshot."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def reported(self, progress: TrainingProgress) -> None:
        progress.write(self.directory)


def write_contact_sheet(path: Path, generator: Generator, columns: int) -> None:
    """One class a row (ten rows when unconditional), `columns` images each, 2 pixels between."""
    sheet = contact_sheet(generator, columns)
    picture = io.BytesIO()
    Image.fromarray(sheet.squeeze(-1) if sheet.shape[2] == 1 else sheet).save(
        picture, "PNG", optimize=True
    )
    write_atomically(path, picture.getvalue())


MOST_ROWS: Final = 50


def contact_sheet(generator: Generator, columns: int) -> npt.NDArray[np.uint8]:
    """The same as pixels, uint8 [height, width, C]; of many classes the first fifty."""
    rows = min(generator.class_count or 10, MOST_ROWS)
    z = normal(
        seed=0, model="0" * 64, shard=0, first=0, count=rows * columns, size=generator.latent_size
    )
    labels = np.repeat(np.arange(rows), columns) if generator.class_count else None
    pixels = sample(generator, z, labels).pixels  # [rows * columns, H, W, C]
    tiles = np.pad(pixels, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=128)
    _, height, width, channels = tiles.shape
    sheet = tiles.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return sheet.reshape(rows * height, columns * width, channels)
