"""The recipe of every architecture that is trained here, and its options for forms and requests.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import JsonValue, TypeAdapter

from models.errors import TrainingError
from models.training.recipe import OF_AUTOENCODERS, OF_GANS, Recipe

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "mlp_gan": Recipe(
            loss="logistic", generator_rate=2e-4, partner_rate=2e-4, betas=(0.5, 0.999),
            average_decay=0.999, batch_size=64, latent_size=100, epochs=100, dropout=0.3,
        ),
        "cgan": Recipe(
            loss="hinge", generator_rate=2e-4, partner_rate=4e-4, betas=(0.0, 0.99),
            average_decay=0.999, batch_size=64, latent_size=64, epochs=40,
            discriminator_norm="spectral",
        ),
        "stylegan2": Recipe(
            loss="hinge", generator_rate=2e-3, partner_rate=4e-4, betas=(0.0, 0.99),
            average_decay=0.999, batch_size=64, latent_size=64, epochs=40,
            discriminator_norm="spectral",
        ),
        "vae": Recipe(
            loss="elbo", generator_rate=1e-3, partner_rate=1e-3, betas=(0.9, 0.999),
            average_decay=0.999, batch_size=128, latent_size=16, epochs=40, pixel_variance=0.08,
        ),
        "cvae": Recipe(
            loss="elbo", generator_rate=1e-3, partner_rate=1e-3, betas=(0.9, 0.999),
            average_decay=0.999, batch_size=128, latent_size=16, epochs=40, pixel_variance=0.08,
        ),
    }
)  # fmt: skip


def recipe_of(architecture: str) -> Recipe:
    """The recipe of that architecture; one that is not trained here is refused."""
    if architecture not in RECIPES:
        known = ", ".join(sorted(RECIPES))
        raise TrainingError(f"architecture {architecture!r} is not one of: {known}")
    return RECIPES[architecture]


def options_schema(architecture: str) -> dict[str, JsonValue]:
    """JSON schema of the options that this architecture's recipe takes, with its defaults.

    Every property has a description; an object with any of them is what `with_overrides` takes.
    """
    recipe = recipe_of(architecture)
    foreign = OF_GANS if recipe.variational else OF_AUTOENCODERS
    schema: dict[str, Any] = TypeAdapter(Recipe).json_schema()
    defaults = recipe.as_json()
    properties: dict[str, Any] = {
        name: {**about, "description": " ".join(about["description"].split()), "default": default}
        for name, about in schema["properties"].items()
        if name not in foreign
        for default in [defaults[name]]
    }
    properties["loss"]["enum"] = _losses(recipe)
    return {
        "title": f"Options of the recipe of {architecture}",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _losses(recipe: Recipe) -> list[str]:
    return ["elbo"] if recipe.variational else ["logistic", "hinge", "wasserstein"]
