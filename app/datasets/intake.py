"""An uploaded dataset: looked through before anything of it is kept, and drawn for its preview."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.datasets.contact_sheet import contact_sheet
from app.errors import UnsupportedDatasetError
from app.settings import Settings
from models.corpus.inspection import Cost, Inspected, inspect
from models.corpus.limits import Limits
from models.errors import DatasetError

SIDE = 96
"""Pixels that the larger side of a shown image has about."""
LARGEST_SCALE = 8


def inspected(path: Path, workdir: Path, settings: Settings) -> Inspected:
    """What the dataset in a file is. Raises UnsupportedDatasetError."""
    limits = Limits(images=settings.max_dataset_images)
    cost = Cost(
        file_bytes=settings.max_dataset_bytes,
        seconds=settings.dataset_seconds,
        memory_bytes=settings.dataset_memory_bytes,
    )
    with refusals():
        return inspect(path, workdir, limits, cost)


@contextmanager
def refusals() -> Iterator[None]:
    """Errors of `models` as errors of the service."""
    try:
        yield
    except DatasetError as error:
        raise UnsupportedDatasetError(str(error), kind=error.kind) from error


def preview_of(found: Inspected) -> bytes:
    """PNG: one class a row, images small; classes beyond the first few are left out."""
    names = found.survey.classes
    rows = [(names[label], images) for label, images in sorted(found.shown.items())]
    side = max(max(pixels.shape[:2]) for _, images in rows for pixels in images)
    return contact_sheet(rows, scale=max(1, min(LARGEST_SCALE, SIDE // side)))
