"""ONNX models in the worker's engine, beside those of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from app.engine.engine import Engine
from app.engine.forward import Forward
from app.engine.place import Limits
from app.errors import ModelCorruptError, ModelUnusableError
from models.checkpoint import load
from models.files import weights_file
from models.latents import normal
from tests.onnx_graphs import CLASSES, INT64, LATENT, external, first_only, onnx_spec, painter

BATCH = 16
Opener = Callable[..., Engine]


def never(error: BaseException) -> None:
    raise AssertionError("the device broke") from error


@pytest.fixture
def engine_of(tmp_path: Path) -> Iterator[Opener]:
    engines = []

    def start(graph: onnx.ModelProto, **fields: object) -> Engine:
        content = graph.SerializeToString()
        spec = onnx_spec(content, **fields)  # type: ignore[arg-type]
        path = tmp_path / weights_file(spec)
        path.write_bytes(content)
        limits = Limits(resident_bytes=1, linger_seconds=0.0, most_waiting=100)
        device = torch.device("cpu")
        engine = Engine(device, lambda _, place: load(spec, path, place), Forward(never), limits)
        engines.append(engine)
        return engine

    yield start
    for engine in engines:
        engine.close()


def latents(count: int) -> np.ndarray:
    return normal(seed=7, model="ab" * 32, shard=0, first=0, count=count, size=LATENT)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("batch", ["n", 1, 5])
def test_a_graph_serves_like_any_model(engine_of: Opener, batch, precision: str) -> None:
    """Whatever its own batch is, and in float32 whatever precision a job asks for."""
    engine = engine_of(painter([1, 6, 5], batch=batch, label=(INT64, [])), classes=CLASSES)
    z, labels = latents(20), np.arange(20) % CLASSES
    seat = engine.for_job("job", precision)
    whole = seat.generate("a" * 64, z[:BATCH], labels[:BATCH], BATCH)
    wanted = np.clip((z.mean(axis=1) + labels + 1) * 127.5, 0, 255)[:BATCH]
    assert np.abs(whole.pixels[:, 0, 0, 0] - wanted).max() <= 0.5 + 1e-3
    alone = seat.generate("a" * 64, z[7:8], labels[7:8], BATCH)
    assert np.array_equal(alone.pixels[0], whole.pixels[7])


def test_a_model_over_the_budget_leaves_when_nobody_uses_it(engine_of: Opener) -> None:
    engine = engine_of(painter([1, 6, 5]))
    engine.for_job("job").generate("a" * 64, latents(2), None, BATCH)
    assert engine.resident == []


def test_a_graph_that_lies_about_its_batch_fails_the_request_with_a_sentence(
    engine_of: Opener,
) -> None:
    engine = engine_of(first_only([1, 6, 5]))
    with pytest.raises(ModelUnusableError, match=r"asked for 16 images.*options\.batch"):
        engine.for_job("job").generate("a" * 64, latents(2), None, BATCH)


def test_weights_in_another_file_are_a_corrupt_model(engine_of: Opener) -> None:
    engine = engine_of(external(painter([1, 6, 5])))
    with pytest.raises(ModelCorruptError, match="external_data=False"):
        engine.for_job("job").generate("a" * 64, latents(2), None, BATCH)
