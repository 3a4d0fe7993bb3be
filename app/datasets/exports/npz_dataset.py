"""One npz file with the pixels of every sample, for who wants arrays and no image files.

`numpy.load(FILE)` gives `images` uint8 [N, H, W, C], `labels` int64 [N], `classes` str [K], `index`
int64 [N] and `candidate` int64 [N]. Pixels are those that the image files decode to. Where a drawn
image became several samples, `variant_of` int64 [N] and `variant` int64 [N] say which.

Of a dataset that is merged with a real one, `origin` str [N] says which images are real; they stand
behind the samples, their `candidate` and `variant` are -1, and each is a variant of itself. With
several splits all names but `classes` begin with `train_`, `val_` or `test_`, as those of MedMNIST
do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from app.datasets.decoding import decode_all
from app.datasets.exports.container import Container, Spool
from app.datasets.exports.content import Stored
from app.datasets.merging.arrays import (
    RealColumns,
    array,
    header,
    header_of,
    prefix_of,
    write_arrays,
    write_pixels,
)
from app.datasets.merging.images import RealImages
from app.jobs.merge import REAL, SYNTHETIC, TRAIN
from app.jobs.plan import Plan

_DECODED_AT_A_TIME = 64
_ROWS_A_TIME = 1 << 17


def write_npz(
    container: Container, plan: Plan, samples: Iterable[Stored], real: RealImages | None = None
) -> None:
    """Add the arrays. Nothing of them is held in memory: they go to the disk as they come."""
    added = real.count(TRAIN) if real is not None else 0
    prefix = prefix_of(real, TRAIN)
    total = plan.samples + added
    label_of = np.array([cell.label for cell in plan.cells], np.int64)
    head = header(plan, total)
    size = len(head) + total * plan.image.bytes
    with TemporaryFile() as labels, TemporaryFile() as candidates:
        with container.part(f"{prefix}images.npy", size, size) as spool:
            spool.write(head)
            for part in samples:
                labels.write(label_of[part.rows["cell"]].tobytes())
                candidates.write(part.rows["candidate"].tobytes())
                _write_pixels(spool, plan, part)
            rows = write_pixels(spool, real, TRAIN) if real is not None else RealColumns()
        _write_column(container, f"{prefix}labels.npy", total, _of(labels), rows.labels)
        container.add("classes.npy", array(np.array(plan.classes, np.str_)))
        index = (
            np.arange(start, min(start + _ROWS_A_TIME, plan.samples), dtype=np.int64).tobytes()
            for start in range(0, plan.samples, _ROWS_A_TIME)
        )
        _write_column(container, f"{prefix}index.npy", total, index, rows.index)
        of_samples = _of(candidates)
        _write_column(container, f"{prefix}candidate.npy", total, of_samples, rows.candidates)
    if plan.variants > 1:
        _write_variants(container, plan, prefix, rows)
    if real is not None:
        origins = np.array([SYNTHETIC] * plan.samples + [REAL] * added)
        container.add(f"{prefix}origin.npy", array(origins))
        for split in real.merge.splits[1:]:
            write_arrays(container, real, split)


def _of(file: IO[bytes]) -> Iterator[bytes]:
    """What was written to a file, in pieces."""
    file.seek(0)
    while piece := file.read(8 * _ROWS_A_TIME):
        yield piece


def _write_column(
    container: Container, name: str, count: int, samples: Iterable[bytes], real: NDArray[np.int64]
) -> None:
    """Add int64 [count]: those of samples, which come in pieces, and of real images."""
    head = header_of(np.dtype(np.int64), (count,))
    size = len(head) + 8 * count
    with container.part(name, size, size) as spool:
        spool.write(head)
        for piece in samples:
            spool.write(piece)
        spool.write(real.tobytes())


def _write_variants(container: Container, plan: Plan, prefix: str, rows: RealColumns) -> None:
    """Add the index of the first variant of each sample's image, and which one it is itself."""
    columns = {"variant_of": rows.index, "variant": rows.candidates}
    for place, (name, real) in enumerate(columns.items()):
        samples = (plan.shard(k).variants()[place].tobytes() for k in range(plan.shards))
        count = plan.samples + len(real)
        _write_column(container, f"{prefix}{name}.npy", count, samples, real)


def _write_pixels(spool: Spool, plan: Plan, part: Stored) -> None:
    for start in range(0, len(part.files), _DECODED_AT_A_TIME):
        files = part.files[start : start + _DECODED_AT_A_TIME]
        pixels = decode_all(files, plan.encoding, plan.image)
        spool.write(pixels.tobytes())
