"""bfloat16: other pixels by a few levels, the same figures, and equal in every batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.engine.forward import Forward
from models.checkpoint import load, load_classifier
from models.generator import Generator, from_pixels
from models.latents import normal
from models.zoo.catalogue import ShippedModel, shipped, shipped_classifiers

COUNT, BATCH = 512, 128
CONDITIONAL = [model for model in shipped() if model.spec.conditional]


def never(error: BaseException) -> None:
    raise AssertionError from error


@pytest.fixture(params=CONDITIONAL, ids=lambda model: model.spec.name)
def model(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_the_judge_sees_no_difference(model: ShippedModel) -> None:
    labels = np.arange(COUNT) % len(model.spec.classes)
    exact, rough = (_drawn(model, labels, precision) for precision in ("float32", "bfloat16"))
    difference = np.abs(exact.astype(int) - rough.astype(int))
    assert difference.any(), "bfloat16 was not used"
    assert difference.mean() < 1.0
    agreements = [(_judged(pixels) == labels).mean() for pixels in (exact, rough)]
    assert abs(agreements[0] - agreements[1]) <= 0.01


def test_a_sample_is_the_same_in_every_batch(model: ShippedModel) -> None:
    labels = np.arange(COUNT) % len(model.spec.classes)
    whole = _drawn(model, labels, "bfloat16")
    parts = _drawn(model, labels, "bfloat16", start=37, stop=37 + 50)
    assert (parts == whole[37 : 37 + 50]).all()


def _drawn(
    model: ShippedModel,
    labels: NDArray[np.int64],
    precision: str,
    start: int = 0,
    stop: int = COUNT,
) -> NDArray[np.uint8]:
    spec = model.spec
    z = normal(seed=3, model=spec.sha256, shard=0, first=0, count=COUNT, size=spec.latent_size)
    generator: Generator = load(spec, model.weights_path)
    forward = Forward(never)
    made = [
        forward(generator, z[at:to], labels[at:to], BATCH, precision)
        for at in range(start, stop, BATCH)
        for to in [min(at + BATCH, stop)]
    ]
    assert all(part.finite.all() for part in made)
    return np.concatenate([part.pixels for part in made])


def _judged(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    [shipped_judge] = shipped_classifiers()
    judge = load_classifier(shipped_judge.spec, shipped_judge.weights_path)
    with torch.inference_mode():
        scores = judge(from_pixels(pixels, judge.value_range))
    return scores.argmax(1).numpy()
