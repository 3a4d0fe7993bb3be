"""One npz file with the pixels of every sample, for who wants arrays and no image files.

`numpy.load(FILE)` gives `images` uint8 [N, H, W, C], `labels` int64 [N], `classes` str [K], `index`
int64 [N] and `candidate` int64 [N]. Pixels are those that the image files decode to.
"""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from app.datasets.decoding import decode
from app.datasets.exports.container import Container, Spool
from app.datasets.exports.content import Stored
from app.jobs.plan import Plan


def write_npz(container: Container, plan: Plan, samples: Iterable[Stored]) -> None:
    """Add the arrays; the images go to the disk as they come."""
    shape = (plan.samples, plan.image.height, plan.image.width, plan.image.channels)
    labels = np.empty(plan.samples, np.int64)
    candidates = np.empty(plan.samples, np.int64)
    label_of = np.array([cell.label for cell in plan.cells], np.int64)
    done = 0
    with container.part("images.npy") as spool:
        spool.write(_header(shape, np.dtype(np.uint8)))
        for part in samples:
            end = done + len(part.rows)
            labels[done:end] = label_of[[row.cell for row in part.rows]]
            candidates[done:end] = [row.candidate for row in part.rows]
            _write_pixels(spool, plan, part)
            done = end
    container.add("labels.npy", _array(labels))
    container.add("classes.npy", _array(np.array(plan.classes, np.str_)))
    container.add("index.npy", _array(np.arange(plan.samples, dtype=np.int64)))
    container.add("candidate.npy", _array(candidates))


def _write_pixels(spool: Spool, plan: Plan, part: Stored) -> None:
    for file in part.files:
        spool.write(decode(file, plan.encoding, plan.image).tobytes())


def _header(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> bytes:
    """The head of a .npy file in C order (NumPy's format 1.0)."""
    head = io.BytesIO()
    description = {"shape": shape, "fortran_order": False, "descr": npy.dtype_to_descr(dtype)}
    npy.write_array_header_1_0(head, description)
    return head.getvalue()


def _array(values: NDArray[np.generic]) -> bytes:
    out = io.BytesIO()
    npy.write_array(out, values, allow_pickle=False)
    return out.getvalue()
