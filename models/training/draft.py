"""The spec of a model that is still to be trained."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue, ValidationError

from models.corpus.corpus import Corpus
from models.errors import TrainingError
from models.registry import architecture_of
from models.spec import ImageShape, ModelSpec, Weights
from models.training.config import TrainingConfig
from models.training.recipe import Recipe

UNSAVED = Weights(sha256="0" * 64, bytes=1)
"""Stands where the weights of a spec are not written yet."""


def draft_spec(config: TrainingConfig, recipe: Recipe, corpus: Corpus) -> ModelSpec:
    """The spec of the model to be trained, its weights and figures still open."""
    generator = architecture_of(config.architecture).generator
    try:
        return ModelSpec(
            name=config.name,
            version=config.version,
            family=generator.family,
            architecture=config.architecture,
            options={**suggested(config.architecture, corpus.image), **config.options},
            image=corpus.image,
            latent_size=recipe.latent_size,
            conditioning="class" if config.conditional else "none",
            classes=corpus.classes if config.conditional else (),
            value_range=generator.value_range,
            licence=config.licence,
            description=config.description,
            weights=UNSAVED,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "spec"
        raise TrainingError(f"{where}: {first['msg']}") from error


BASE = 32
"""Channels at full size."""


def suggested(architecture: str, image: ImageShape) -> Mapping[str, JsonValue]:
    """Options of an architecture that suit images of that size."""
    if architecture == "stylegan2":
        return {
            "style_dim": 4 * BASE,
            "mapping_layers": 4,
            "channel_base": 64 * BASE,
            "channel_max": 8 * BASE,
            "noise": "off",  # small images have no texture that it would be for
        }
    if architecture not in ("cgan", "cvae"):
        return {}
    # Double a grid of 4 to 8 cells a side until it spans the image.
    side = min(image.height, image.width)
    return {"base": BASE, "stages": max(1, side.bit_length() - 3)}
