"""First runs of a stranger's ONNX graph: how many images a run gives, and whether they are alone.

What the graph says of its batch is not believed. Run it where a graph may fail or take too much:
in the sandbox, whose memory is limited.
"""

from __future__ import annotations

import time
from typing import Final

import numpy as np
from pydantic import JsonValue

from models.errors import InferenceError, ModelError, OutputShapeError
from models.latents import normal
from models.onnx_graph import OnnxTrial
from models.onnx_runner import Floats, Labels, Runner
from models.spec import ModelSpec

TRIED: Final = 3
"""Images of the run that is compared with single ones: neither 1 nor a power of 2."""
SAME: Final = 2
"""Levels by which an image may differ between batches: sums in another order, and rounding."""
STREAM: Final = "00" * 32


def try_out(spec: ModelSpec, content: bytes) -> OnnxTrial:
    """Run the graph for one image, for three, and for other neighbours.

    Where a run of three fails and one of one image does not, `batch` is 1. Raises ModelError when
    neither works, when an image depends on its neighbours, or is another one the second time.
    """
    runner = Runner(spec, content, threads=1)
    z, labels = _drawn(spec, TRIED)
    batch = runner.batch
    if batch is None and not _gives(runner, z, labels):
        batch = 1
        options: dict[str, JsonValue] = {**spec.options, "batch": batch}
        runner = Runner(spec.model_copy(update={"options": options}), content, threads=1)
    started = time.perf_counter()
    images = runner.images(z, labels)
    seconds = time.perf_counter() - started
    _check_same(runner, z, labels, images, spec.value_range)
    finite = np.isfinite(images).reshape(TRIED, -1).all(axis=1)
    return OnnxTrial(batch=batch, seconds=seconds, images=TRIED, non_finite=int((~finite).sum()))


def _drawn(spec: ModelSpec, count: int) -> tuple[Floats, Labels | None]:
    z = normal(seed=0, model=STREAM, shard=0, first=0, count=count, size=spec.latent_size)
    classes = len(spec.classes)
    return z, np.arange(count, dtype=np.int64) % classes if classes else None


def _gives(runner: Runner, z: Floats, labels: Labels | None) -> bool:
    try:
        runner.images(z, labels)
    except (OutputShapeError, InferenceError):
        return False
    return True


def _check_same(
    runner: Runner,
    z: Floats,
    labels: Labels | None,
    images: Floats,
    value_range: tuple[float, float],
) -> None:
    """The first image again: in the same batch, beside others, and alone."""
    others = np.concatenate([z[:1], -2 * z[1:]])
    again = runner.images(z, labels)[0]
    if not np.array_equal(again, images[0], equal_nan=True):
        raise ModelError(
            "the same latents gave other images the second time; export the generator in eval "
            "mode, with noise as an input"
        )
    step = (value_range[1] - value_range[0]) / 255
    beside = runner.images(others, labels)[0]
    alone = runner.images(z[:1], None if labels is None else labels[:1])[0]
    for image in (beside, alone):
        if not np.allclose(image, images[0], rtol=0, atol=SAME * step, equal_nan=True):
            raise ModelError(
                "an image depends on the others of its batch; export the generator in eval mode, "
                "so that batch norm uses its stored statistics"
            )
