"""Batches in pieces on the CPU: how large they are, and that nobody sees them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from app.engine.forward import Forward
from app.engine.pieces import PIECE_BYTES, activation_bytes, piece_of
from models.checkpoint import load
from models.generator import Generator, sample
from models.latents import normal
from models.zoo.catalogue import shipped, shipped_model
from tests.generators import Broken

BATCH = 256


def never(error: BaseException) -> None:
    raise AssertionError from error


@pytest.mark.parametrize("name", [model.spec.name for model in shipped()])
def test_the_largest_activation_is_that_of_the_largest_layer(name: str) -> None:
    generator = _loaded(name)
    sizes: list[int] = []

    def keep(_layer: nn.Module, _given: object, made: Tensor) -> None:
        sizes.append(made[0].numel() * made.element_size())

    layers = [m for m in generator.modules() if isinstance(m, nn.Linear | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    _draw(generator, 3)
    for hook in hooks:
        hook.remove()
    assert activation_bytes(generator) == max(sizes)


@pytest.mark.parametrize(
    ("batch", "image_bytes", "piece"),
    [
        (256, 0, 256),
        (256, PIECE_BYTES // 256, 256),
        (256, PIECE_BYTES // 256 + 1, 128),
        (256, 100_352, 64),
        (100, 100_352, 64),
        (48, 100_352, 48),
        (8, 10 * PIECE_BYTES, 2),
        (1, 10 * PIECE_BYTES, 1),
    ],
)
def test_pieces_keep_the_largest_activation_small(batch: int, image_bytes: int, piece: int) -> None:
    assert piece_of(batch, image_bytes) == piece


def test_a_batch_of_a_convolutional_generator_runs_in_pieces_and_looks_the_same() -> None:
    generator = _loaded("fashion-cgan")
    spec = shipped_model("fashion-cgan").spec
    z = normal(seed=3, model=spec.sha256, shard=0, first=0, count=200, size=spec.latent_size)
    labels = np.arange(200) % 10
    whole = sample(generator, z, labels)
    counts: list[int] = []
    hook = generator.register_forward_pre_hook(lambda _, given: counts.append(len(given[0])))
    made = Forward(never)(generator, z, labels, BATCH)
    hook.remove()
    assert counts[-4:] == [64, 64, 64, 64]
    assert isinstance(made.pixels, np.ndarray)
    assert (made.pixels == whole.pixels).all()


def test_a_generator_that_fails_for_any_number_fails_as_its_batch_would() -> None:
    generator = Broken(wrong_shape=True)
    with pytest.raises(Exception, match=r"where .* was asked for"):
        Forward(never)(generator, np.zeros((4, 3), np.float32), None, 8)


def _loaded(name: str) -> Generator:
    model = shipped_model(name)
    return load(model.spec, model.weights_path)


def _draw(generator: Generator, count: int) -> None:
    labels = torch.zeros(count, dtype=torch.int64) if generator.class_count else None
    with torch.inference_mode():
        generator.eval()(torch.zeros(count, generator.latent_size), labels)
