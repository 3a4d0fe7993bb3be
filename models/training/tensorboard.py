"""A run for TensorBoard: losses, figures, sample grids and the generator's graph."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import TrainingError
from models.generator import Generator
from models.training.callbacks import Callback, Snapshot, contact_sheet
from models.training.state import Progress


class TensorBoard(Callback):
    """Event files in `directory`, read by `tensorboard --logdir`.

    every: steps between two values of each loss. A run that goes on, or back, hides the steps that
    are done again.
    """

    def __init__(self, directory: Path, every: int = 20) -> None:
        self.directory = directory
        self.every = every
        self.writer: Any = None
        self.graph_written = False

    def begin(self, step: int, steps: int | None) -> None:
        if self.writer is not None:
            self.writer.close()
        self.writer = _writer(self.directory, step)
        self.graph_written = step > 0

    def step(self, progress: Progress, losses: Mapping[str, float]) -> None:
        if progress.step % self.every == 0:
            for name, loss in losses.items():
                self.writer.add_scalar(f"loss/{name}", loss, progress.step)

    def snapshot(self, snapshot: Snapshot) -> None:
        row, average = snapshot.row, snapshot.average
        figures = row.judged.model_dump(exclude_none=True) if row.judged else {}
        for name in ("score", "kid", "label_agreement", "diversity", "distinct"):
            if name in figures:
                self.writer.add_scalar(f"figure/{name}", figures[name], row.step)
        self.writer.add_image("samples", contact_sheet(average, 10), row.step, dataformats="HWC")
        if not self.graph_written:
            self._write_graph(average)
        self.writer.flush()

    def end(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def _write_graph(self, average: Generator) -> None:
        self.graph_written = True
        z = torch.zeros(1, average.latent_size, device=average.device)
        labels = torch.zeros(1, dtype=torch.int64, device=average.device)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing is deprecated, and what a graph is made of
            if average.class_count:
                self.writer.add_graph(average, (z, labels))
            else:
                self.writer.add_graph(_Unlabelled(average), (z,))


class _Unlabelled(nn.Module):
    """A generator without its second argument."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, z: Tensor) -> Tensor:
        images: Tensor = self.generator(z, None)
        return images


def _writer(directory: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise TrainingError(
            "TensorBoard is not installed: pip install 'synthloom[train]'"
        ) from error
    return SummaryWriter(str(directory), purge_step=step + 1 if step else None)
