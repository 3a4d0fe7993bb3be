"""Real images in the arrays of an npz, and how arrays are written."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from app.datasets.exports.container import Container, Spool
from app.datasets.intake import refusals
from app.datasets.merging.images import RealImages
from app.jobs.merge import REAL
from app.jobs.plan import Plan
from models.corpus.image_files import decoded
from models.corpus.limits import DEFAULT
from models.corpus.preprocessing import in_mode, pixels_of
from models.corpus.source import Split

Column = NDArray[np.int64]
_PREFIXES: dict[Split, str] = {"train": "train_", "validation": "val_", "test": "test_"}


def _none() -> Column:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class RealColumns:
    """What stands beside the pixels of real images; none where there are none."""

    labels: Column = field(default_factory=_none)
    index: Column = field(default_factory=_none)

    @property
    def candidates(self) -> Column:
        """-1: no generator drew them."""
        return np.full(len(self.index), -1, np.int64)


def prefix_of(real: RealImages | None, split: Split) -> str:
    """What the names of a split's arrays begin with."""
    return _PREFIXES[split] if real is not None and len(real.merge.splits) > 1 else ""


def write_arrays(container: Container, real: RealImages, split: Split) -> None:
    """Add the arrays of a split in which there are real images only."""
    prefix, count = prefix_of(real, split), real.count(split)
    head = header(real.plan, count)
    size = len(head) + count * real.plan.image.bytes
    with container.part(f"{prefix}images.npy", size, size) as spool:
        spool.write(head)
        rows = write_pixels(spool, real, split)
    container.add(f"{prefix}labels.npy", array(rows.labels))
    container.add(f"{prefix}index.npy", array(rows.index))
    container.add(f"{prefix}candidate.npy", array(rows.candidates))
    if real.plan.variants > 1:
        container.add(f"{prefix}variant_of.npy", array(rows.index))
        container.add(f"{prefix}variant.npy", array(rows.candidates))
    container.add(f"{prefix}origin.npy", array(np.array([REAL] * count)))


def write_pixels(spool: Spool, real: RealImages, split: Split) -> RealColumns:
    """Append the pixels of a split's images, with the channels that the samples have."""
    labels: list[int] = []
    index: list[int] = []
    with refusals():
        for chunk in real.chunks(split):
            for row, file in zip(chunk.rows, chunk.files, strict=True):
                image = in_mode(decoded(file, row.source, DEFAULT), real.plan.image.channels)
                spool.write(pixels_of(image).tobytes())
            labels += [row.label for row in chunk.rows]
            index += [row.sample for row in chunk.rows]
    return RealColumns(np.array(labels, np.int64), np.array(index, np.int64))


def header(plan: Plan, count: int) -> bytes:
    """The head of a .npy file of so many images, uint8 in C order."""
    shape = (count, plan.image.height, plan.image.width, plan.image.channels)
    return header_of(np.dtype(np.uint8), shape)


def header_of(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    """The head of a .npy file in C order (NumPy's format 1.0)."""
    head = io.BytesIO()
    described = {"shape": shape, "fortran_order": False, "descr": npy.dtype_to_descr(dtype)}
    npy.write_array_header_1_0(head, described)
    return head.getvalue()


def array(values: NDArray[np.generic]) -> bytes:
    """A .npy file."""
    out = io.BytesIO()
    npy.write_array(out, values, allow_pickle=False)
    return out.getvalue()
