"""Generators that are measured beside the shipped ones, with random weights: fast or slow alike.

The time of a forward pass does not depend on what was learned.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from app import catalogue
from app.bootstrap import prepare
from app.db.session import create_engine, transaction
from app.db.tables import DEFAULT_TENANT
from app.settings import Settings
from app.storage import LocalStorage
from models.checkpoint import save
from models.files import WEIGHTS_FILE, read_spec
from models.registry import build
from models.spec import ModelSpec, Weights

UNKNOWN = Weights(sha256="0" * 64, bytes=1)


@dataclass(frozen=True)
class Network:
    """A conditional convolutional GAN of random weights."""

    name: str
    base: int
    stages: int
    side: int = 32
    channels: int = 3
    classes: int = 10

    def spec(self) -> ModelSpec:
        """What it says of itself, before its weights are known."""
        return ModelSpec.model_validate(
            {
                "name": self.name,
                "version": "1",
                "family": "gan",
                "architecture": "cgan",
                "options": {"base": self.base, "stages": self.stages},
                "image": {"height": self.side, "width": self.side, "channels": self.channels},
                "latent_size": 100,
                "conditioning": "class",
                "classes": [f"class-{k:04d}" for k in range(self.classes)],
                "value_range": (-1.0, 1.0),
                "licence": "Apache-2.0",
                "weights": UNKNOWN,
            }
        )


CONVOLUTIONAL = Network("bench-convolutional", base=32, stages=2)
"""32×32 RGB, about 1,500 samples a second on one core: the forward pass decides."""

OVERHEAD_BOUND = Network("bench-small", base=4, stages=3)
"""32×32 RGB, about 5 ms a batch of 64: what is around the forward pass decides."""


def with_classes(count: int) -> Network:
    """The shipped conditional GAN's architecture, 28×28 grey, with so many classes."""
    return Network(f"bench-classes-{count}", base=32, stages=2, side=28, channels=1, classes=count)


def checkpoint(folder: Path, network: Network) -> Path:
    """The network's checkpoint in a fresh folder of its name below `folder`."""
    torch.manual_seed(0)
    spec = network.spec()
    target = folder / network.name
    shutil.rmtree(target, ignore_errors=True)
    save(target, spec, build(spec))
    return target


def register(data_dir: Path, *checkpoints: Path) -> None:
    """Prepare a data folder and register checkpoints in it, before it is served."""
    settings = Settings(data_dir=data_dir, _env_file=None)
    prepare(settings)
    database = create_engine(settings.sqlalchemy_url)
    storage = LocalStorage(settings.objects_dir)
    try:
        with transaction(database) as session:
            for folder in checkpoints:
                weights = folder / WEIGHTS_FILE
                spec = read_spec(folder)
                catalogue.register(session, storage, DEFAULT_TENANT, spec, weights, None)
    finally:
        database.dispose()
