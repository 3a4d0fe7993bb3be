"""A step of a variational autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.training.descent import Descent
from models.training.losses import kl_weight, reconstruction
from models.training.pair import Pair
from models.training.recipe import Recipe
from models.vae import Posterior, VaeGenerator


class VariationalPair(Pair):
    """Encoder, decoder and prior together maximise the evidence lower bound."""

    def __init__(
        self, generator: VaeGenerator, partner: nn.Module, recipe: Recipe, steps: int
    ) -> None:
        super().__init__(generator, partner, recipe, steps)
        self.decoder = generator
        assert recipe.pixel_variance is not None, "a variational recipe has one"
        self.pixel_variance = recipe.pixel_variance

    def _descents(self, steps: int) -> dict[str, Descent]:
        optimizers = list(self.optimizers.values())
        return {"both": Descent(optimizers, self.recipe, steps, self.generator.device)}

    def update(self, images: Tensor, labels: Tensor | None, step: int) -> dict[str, float]:
        with self.autocast():
            posterior: Posterior = self.partner(images, labels)
            noise = torch.randn_like(posterior.mean)
            code = posterior.mean + (0.5 * posterior.log_variance).exp() * noise
            made = self.decoder.decode(code, labels)
        distortion = reconstruction(images, made.float(), self.pixel_variance)
        rate = self.decoder.prior.divergence(posterior, labels).mean()
        weight = kl_weight(step, self.recipe.kl_weight, self.recipe.kl_warmup_steps)
        self.descents["both"](distortion + weight * rate, step)
        return {"reconstruction": float(distortion.detach()), "divergence": float(rate.detach())}
