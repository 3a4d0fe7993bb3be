"""One npz file with the pixels of every sample, for who wants arrays and no image files.

`numpy.load(FILE)` gives `images` uint8 [N, H, W, C], `labels` int64 [N], `classes` str [K], `index`
int64 [N] and `candidate` int64 [N]. Pixels are those that the image files decode to.

Of a dataset that is merged with a real one, `origin` str [N] says which images are real; they stand
behind the samples, and their `candidate` is -1. With several splits all names but `classes` begin
with `train_`, `val_` or `test_`, as those of MedMNIST do.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from app.datasets.decoding import decode_all
from app.datasets.exports.container import Container, Spool
from app.datasets.exports.content import Stored
from app.datasets.merging.arrays import (
    RealColumns,
    array,
    header,
    prefix_of,
    write_arrays,
    write_pixels,
)
from app.datasets.merging.images import RealImages
from app.jobs.merge import REAL, SYNTHETIC, TRAIN
from app.jobs.plan import Plan

_DECODED_AT_A_TIME = 64


def write_npz(
    container: Container, plan: Plan, samples: Iterable[Stored], real: RealImages | None = None
) -> None:
    """Add the arrays; the images go to the disk as they come."""
    added = real.count(TRAIN) if real is not None else 0
    prefix = prefix_of(real, TRAIN)
    labels = np.empty(plan.samples, np.int64)
    candidates = np.empty(plan.samples, np.int64)
    label_of = np.array([cell.label for cell in plan.cells], np.int64)
    done = 0
    head = header(plan, plan.samples + added)
    size = len(head) + (plan.samples + added) * plan.image.bytes
    with container.part(f"{prefix}images.npy", size, size) as spool:
        spool.write(head)
        for part in samples:
            end = done + len(part.rows)
            labels[done:end] = label_of[[row.cell for row in part.rows]]
            candidates[done:end] = [row.candidate for row in part.rows]
            _write_pixels(spool, plan, part)
            done = end
        rows = write_pixels(spool, real, TRAIN) if real is not None else RealColumns()
    container.add(f"{prefix}labels.npy", array(np.concatenate([labels, rows.labels])))
    container.add("classes.npy", array(np.array(plan.classes, np.str_)))
    index = np.arange(plan.samples, dtype=np.int64)
    container.add(f"{prefix}index.npy", array(np.concatenate([index, rows.index])))
    container.add(f"{prefix}candidate.npy", array(np.concatenate([candidates, rows.candidates])))
    if real is not None:
        origins = np.array([SYNTHETIC] * plan.samples + [REAL] * added)
        container.add(f"{prefix}origin.npy", array(origins))
        for split in real.merge.splits[1:]:
            write_arrays(container, real, split)


def _write_pixels(spool: Spool, plan: Plan, part: Stored) -> None:
    for start in range(0, len(part.files), _DECODED_AT_A_TIME):
        files = part.files[start : start + _DECODED_AT_A_TIME]
        pixels = decode_all(files, plan.encoding, plan.image)
        spool.write(pixels.tobytes())
