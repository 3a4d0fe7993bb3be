"""A small batch as `/v1/samples` makes it, without an engine."""

from __future__ import annotations

import hashlib

import numpy as np

from app.datasets.batch import Batch
from app.datasets.encoders import encoder_of
from app.datasets.manifest import Layout, SampleRow
from app.datasets.marks import packets
from app.jobs.encoding import Encoding
from tests.builders import image, plan_of
from tests.image_readers import Pixels

COUNT, HEIGHT, WIDTH = 5, 16, 12


def gradients() -> Pixels:
    """uint8 [5, 16, 12, 1]: no two alike."""
    ramp = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH))[None, :, :, None]
    return (ramp * np.arange(1, COUNT + 1).reshape(-1, 1, 1, 1)).astype(np.uint8)


def drawn(encoding: Encoding) -> Batch:
    """Three samples of one class and two of another."""
    plan = plan_of([3, 2], 1, image=image(HEIGHT, WIDTH), encoding=encoding, marks=1)
    layout, pixels, cells = Layout(plan), gradients(), plan.shard(0).cells.tolist()
    payloads = encoder_of(encoding)(pixels, packets(plan.identifier, range(COUNT)))
    names = [layout.file_name(index, cell) for index, cell in enumerate(cells)]
    rows = [
        SampleRow(
            sample=index,
            cell=cells[index],
            candidate=index,
            offset=0,
            length=len(payloads[index]),
            file_sha256=hashlib.sha256(payloads[index]).digest(),
            pixel_sha256=hashlib.sha256(pixels[index].tobytes()).digest(),
        )
        for index in range(COUNT)
    ]
    return Batch(plan, rows, ["MIT"], dict(zip(names, payloads, strict=True)))
