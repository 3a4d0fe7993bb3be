"""What is told of a run while it goes: log lines, a loss table, a progress bar, sample grids."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from models.generator import Generator, sample
from models.latents import normal
from models.spec import ModelSpec
from models.training.state import Progress

logger = logging.getLogger(__name__)


class Callback:
    """Hears of a run; each method does nothing unless a subclass says otherwise."""

    def begin(self, step: int, steps: int) -> None:
        """Before the first step: steps done already, steps in all."""

    def step(self, progress: Progress, losses: Mapping[str, float]) -> None:
        """After each step."""

    def snapshot(self, folder: Path, spec: ModelSpec, average: Generator) -> None:
        """After the averaged generator was saved to `folder`."""

    def end(self) -> None:
        """After the last step."""


class LossTable(Callback):
    """Means of the losses over every so many steps: a CSV file, and a log line now and then."""

    def __init__(self, path: Path, every: int = 100, log_seconds: float = 30.0) -> None:
        self.path = path
        self.every = every
        self.log_seconds = log_seconds
        self.steps = 0
        self._sums: dict[str, float] = {}
        self._count = 0
        self._logged = time.monotonic()

    def begin(self, step: int, steps: int) -> None:
        self.steps = steps
        if not self.path.exists():
            return
        with self.path.open(newline="") as stream:  # rows beyond the resumed step never happened
            rows = [
                row for row in csv.reader(stream) if not row[0].isdigit() or int(row[0]) <= step
            ]
        with self.path.open("w", newline="") as stream:
            csv.writer(stream).writerows(rows)

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
            pace = progress.seconds / progress.step * 1000
            logger.info("step %d/%d %.0f ms %s", progress.step, self.steps, pace, text)
        self._sums, self._count = {}, 0


class ProgressBar(Callback):
    """A bar on the terminal with the time that is left."""

    def __init__(self) -> None:
        self.bar = Bar(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(),
        )  # fmt: skip
        self.task = self.bar.add_task("training", total=None)

    def begin(self, step: int, steps: int) -> None:
        self.bar.update(self.task, completed=step, total=steps)
        self.bar.start()

    def step(self, progress: Progress, losses: Mapping[str, float]) -> None:
        self.bar.update(self.task, completed=progress.step)

    def end(self) -> None:
        self.bar.stop()


class SampleGrid(Callback):
    """A PNG beside each snapshot: one class a row, always the same latents."""

    def __init__(self, columns: int = 10) -> None:
        self.columns = columns

    def snapshot(self, folder: Path, spec: ModelSpec, average: Generator) -> None:
        write_contact_sheet(folder / "samples.png", average, self.columns)


def write_contact_sheet(path: Path, generator: Generator, columns: int) -> None:
    """One class a row (ten rows when unconditional), `columns` images each, 2 pixels between."""
    rows = generator.class_count or 10
    z = normal(
        seed=0, model="0" * 64, shard=0, first=0, count=rows * columns, size=generator.latent_size
    )
    labels = np.repeat(np.arange(rows), columns) if generator.class_count else None
    pixels = sample(generator, z, labels).pixels  # [rows * columns, H, W, C]
    tiles = np.pad(pixels, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=128)
    _, height, width, channels = tiles.shape
    sheet = tiles.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    sheet = sheet.reshape(rows * height, columns * width, channels)
    Image.fromarray(sheet.squeeze(-1) if channels == 1 else sheet).save(path, optimize=True)
