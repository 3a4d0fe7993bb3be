"""A generator and the network that teaches it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.errors import TrainingError
from models.generator import Generator
from models.training.descent import Descent, adam
from models.training.initialisation import initialise
from models.training.recipe import Recipe

PRODUCTS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class Pair(ABC):
    """A generator, its partner (discriminator or encoder), and their optimizers.

    What a step does is a function of its number, of the networks and of the optimizers, and of
    torch's random stream: nothing else is state, but the loss scale of float16.
    """

    def __init__(
        self, generator: Generator, partner: nn.Module, recipe: Recipe, steps: int
    ) -> None:
        """steps: of the whole run, over which step sizes fall."""
        if recipe.precision == "float16" and generator.device.type != "cuda":
            raise TrainingError("precision float16 needs a GPU; bfloat16 is that of a processor")
        initialise(generator, recipe.initialisation)
        initialise(partner, recipe.initialisation)
        self.recipe = recipe
        self.generator = generator.to(memory_format=torch.channels_last)
        self.partner = partner.to(generator.device).to(memory_format=torch.channels_last)
        self.optimizers = {
            "generator": adam(generator, recipe.generator_rate, recipe),
            "partner": adam(partner, recipe.partner_rate, recipe),
        }
        self.descents = self._descents(steps)

    @abstractmethod
    def _descents(self, steps: int) -> dict[str, Descent]:
        """Which optimizers go down which loss."""

    @abstractmethod
    def update(self, images: Tensor, labels: Tensor | None, step: int) -> dict[str, float]:
        """Learn from float [N, C, H, W] and int64 [N] at a step counted from 0; losses by name.

        The names are the same at every step of a run.
        """

    def autocast(self) -> torch.autocast:
        """Matrix products as precise as the recipe says."""
        products = PRODUCTS[self.recipe.precision]
        mixed = products is not torch.float32
        return torch.autocast(self.generator.device.type, products if mixed else None, mixed)

    def latents(self, count: int) -> Tensor:
        """Standard normal float [count, latent_size] of the step's seeded stream."""
        return torch.randn(count, self.generator.latent_size, device=self.generator.device)

    def scales(self) -> dict[str, Tensor]:
        """Loss scales by name, to be saved with the run; empty unless products are float16."""
        return {
            f"{name}.{field}": tensor
            for name, descent in self.descents.items()
            for field, tensor in descent.scale().items()
        }

    def restore_scales(self, scales: Mapping[str, Tensor]) -> None:
        """Put back what `scales` gave."""
        for name, descent in self.descents.items():
            start = f"{name}."
            own = {k.removeprefix(start): v for k, v in scales.items() if k.startswith(start)}
            descent.restore_scale(own)
