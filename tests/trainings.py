"""Small trainings on the digits that come with scikit-learn, and one in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from models.corpus.corpus import Corpus
from models.training.callbacks import Callback
from models.training.config import TrainingConfig, configured

SMALL = {
    "mlp_gan": {},
    "cgan": {"base": 8},
    "stylegan2": {"style_dim": 16, "mapping_layers": 2, "channel_base": 128, "channel_max": 16},
    "vae": {"hidden": 64},
    "cvae": {"base": 8},
}


def small(architecture: str, **fields: Any) -> TrainingConfig:
    """A run of small networks, unjudged unless `validation` says otherwise."""
    options = {**SMALL.get(architecture, {}), **fields.pop("options", {})}
    given = {"validation": 0, "threads": 1, "device": "cpu", "options": options, **fields}
    return configured(architecture=architecture, name="digits", **given)


def some_digits() -> Corpus:
    """600 handwritten digits, 8 x 8."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    names = tuple(str(label) for label in range(10))
    return Corpus(pixels, bunch.target.astype(np.int64), names).take(slice(600))


class Announcer(Callback):
    """Says every step on stdout, so that another process knows when to kill this one."""

    def step(self, progress: Any, losses: Any) -> None:
        print(progress.step, flush=True)


def main(document: str, folder: str) -> None:
    """A training in this process: its configuration as JSON, its folder."""
    from models.training.session import start

    config = TrainingConfig.model_validate_json(document)
    start(config, some_digits(), Path(folder), [Announcer()])


if __name__ == "__main__":
    main(*sys.argv[1:])
