"""Specs, small labelled images and a fake generator that the tests of `models` share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from models.corpus.corpus import Corpus
from models.registry import ARCHITECTURES
from models.spec import ImageShape, ModelSpec, Weights

SpecMaker = Callable[..., ModelSpec]


SMALL = {
    "cgan": {"base": 8, "stages": 2},
    "cvae": {"base": 8, "stages": 2},
    "stylegan2": {"style_dim": 16, "mapping_layers": 2, "channel_base": 128, "channel_max": 16},
}


@pytest.fixture(scope="session")
def make_spec() -> SpecMaker:
    """Spec of any architecture, small enough for a test."""

    def make(
        architecture: str,
        size: tuple[int, int, int] = (28, 28, 1),
        classes: int = 3,
        **fields: object,
    ) -> ModelSpec:
        generator = ARCHITECTURES[architecture].generator
        height, width, channels = size
        small = SMALL.get(architecture, {})
        document: dict[str, object] = {
            "name": "tested",
            "version": "1.0.0",
            "family": generator.family,
            "architecture": architecture,
            "options": small,
            "image": ImageShape.model_validate(
                {"height": height, "width": width, "channels": channels}
            ),
            "latent_size": 12,
            "conditioning": "class" if classes else "none",
            "classes": tuple(f"class-{label}" for label in range(classes)),
            "value_range": generator.value_range,
            "licence": "Apache-2.0",
            "weights": Weights(sha256="0" * 64, bytes=1),
        }
        return ModelSpec.model_validate(document | fields)

    return make


@pytest.fixture(scope="session")
def digits() -> Corpus:
    """1,797 handwritten digits, 8 x 8, that come with scikit-learn."""
    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    names = tuple(str(label) for label in range(10))
    return Corpus(pixels, bunch.target.astype(np.int64), names)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
