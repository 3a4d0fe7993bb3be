"""What a training run is told, fixed before it starts. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from models.errors import TrainingError


@dataclass(frozen=True)
class Recipe:
    """How an architecture learns.

    loss: "hinge" (Lim & Ye 2017), "logistic" (the non-saturating loss of Goodfellow et al. 2014,
        sec. 3) or "elbo" (Kingma & Welling 2014).
    generator_rate, partner_rate: Adam's step sizes for the generator and for the discriminator or
        encoder; different ones follow Heusel et al. 2017.
    betas: Adam's decay rates of the first and second moment.
    average_decay: of the moving average of the generator's weights, per step (Karras et al. 2018).
    epochs: passes over the data unless told otherwise.
    pixel_variance: of the normal about each pixel, in units of (0, 1); variational models only.
        It sets what a detail may cost in divergence.
    """

    loss: Literal["hinge", "logistic", "elbo"]
    generator_rate: float
    partner_rate: float
    betas: tuple[float, float]
    average_decay: float
    batch_size: int
    latent_size: int
    epochs: int
    pixel_variance: float | None = None


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "mlp_gan": Recipe("logistic", 2e-4, 2e-4, (0.5, 0.999), 0.999, 64, 100, 100),
        "cgan": Recipe("hinge", 2e-4, 4e-4, (0.0, 0.99), 0.999, 64, 64, 40),
        "stylegan2": Recipe("hinge", 2e-3, 4e-4, (0.0, 0.99), 0.999, 64, 64, 40),
        "vae": Recipe("elbo", 1e-3, 1e-3, (0.9, 0.999), 0.999, 128, 16, 40, 0.08),
        "cvae": Recipe("elbo", 1e-3, 1e-3, (0.9, 0.999), 0.999, 128, 16, 40, 0.08),
    }
)


@dataclass(frozen=True)
class TrainingConfig:
    """One run.

    conditional: whether the generator takes the label.
    epochs: passes over the training images; None takes the recipe's.
    minutes: stop earlier after so many; None for no limit.
    seed: of the first weights, the order of images, latents and dropout.
    snapshot_minutes: between saves of the averaged generator, of which the best is chosen later.
    validation: the last so many training images are kept out, for that choice.
    pixel_variance: in place of the recipe's; variational models only.
    bfloat16: matrix products in bfloat16 by autocast, weights and sums in float32.
    """

    architecture: str
    name: str
    conditional: bool = True
    base: int = 32
    seed: int = 0
    epochs: int | None = None
    minutes: float | None = None
    snapshot_minutes: float = 5.0
    validation: int = 0
    pixel_variance: float | None = None
    bfloat16: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 1 << 31:
            raise TrainingError(f"seed must lie in 0 ... 2**31 - 1, not {self.seed}")
        if self.epochs is not None and self.epochs < 1:
            raise TrainingError(f"epochs must be at least 1, not {self.epochs}")
        if self.minutes is not None and not self.minutes > 0:
            raise TrainingError(f"minutes must be more than 0, not {self.minutes}")
        if self.pixel_variance is not None and not self.pixel_variance > 0:
            raise TrainingError(f"pixel variance must be above 0, not {self.pixel_variance}")

    @property
    def recipe(self) -> Recipe:
        """How this run's architecture learns."""
        if self.architecture not in RECIPES:
            known = ", ".join(sorted(RECIPES))
            raise TrainingError(f"architecture {self.architecture!r} is not one of: {known}")
        recipe = RECIPES[self.architecture]
        if self.pixel_variance is None:
            return recipe
        if recipe.pixel_variance is None:
            raise TrainingError(f"{self.architecture} has no pixel variance")
        return replace(recipe, pixel_variance=self.pixel_variance)
