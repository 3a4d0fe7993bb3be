"""From a configuration and a corpus to a trained checkpoint in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import JsonValue, ValidationError

from models import checkpoint
from models.corpus.corpus import Corpus
from models.errors import TrainingError
from models.generator import Generator
from models.registry import architecture_of
from models.spec import ModelSpec, Weights
from models.training.callbacks import Callback
from models.training.config import TrainingConfig
from models.training.loop import Outcome, Run

UNSAVED = Weights(sha256="0" * 64, bytes=1)
"""Stands where the weights of a spec are not written yet."""


def draft_spec(config: TrainingConfig, corpus: Corpus) -> ModelSpec:
    """The spec of the model to be trained, its weights and figures still open."""
    recipe, generator = config.recipe, architecture_of(config.architecture).generator
    try:
        return _spec(config, corpus, recipe.latent_size, generator)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "spec"
        raise TrainingError(f"{where}: {first['msg']}") from error


def _spec(
    config: TrainingConfig, corpus: Corpus, latent_size: int, generator: type[Generator]
) -> ModelSpec:
    return ModelSpec(
        name=config.name,
        version="1.0.0",
        family=generator.family,
        architecture=config.architecture,
        options=_options(config, corpus),
        image=corpus.image,
        latent_size=latent_size,
        conditioning="class" if config.conditional else "none",
        classes=corpus.classes if config.conditional else (),
        value_range=generator.value_range,
        licence="Apache-2.0",
        weights=UNSAVED,
    )


def _options(config: TrainingConfig, corpus: Corpus) -> dict[str, JsonValue]:
    if config.architecture == "stylegan2":
        return {
            "style_dim": 4 * config.base,
            "mapping_layers": 4,
            "channel_base": 64 * config.base,
            "channel_max": 8 * config.base,
            "noise": "off",  # small images have no texture that it would be for
        }
    if config.architecture not in ("cgan", "cvae"):
        return {}
    # Double a grid of 4 to 8 cells a side until it spans the image.
    side = min(corpus.image.height, corpus.image.width)
    stages = max(1, side.bit_length() - 3)
    return {"base": config.base, "stages": stages}


def start(
    config: TrainingConfig, corpus: Corpus, directory: Path, callbacks: Sequence[Callback]
) -> Outcome:
    """Train in `directory`, or go on there, and save the averaged generator as its checkpoint."""
    torch.set_num_threads(config.threads)
    spec = draft_spec(config, corpus)
    if config.validation:
        corpus, _ = corpus.split(config.validation)
    run = Run(config, spec, corpus, directory)
    outcome = run.train(callbacks)
    checkpoint.save(directory, outcome.spec, run.average, torch.float16)
    return outcome
