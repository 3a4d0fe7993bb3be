"""One step of learning: an adversarial pair, or a variational pair, sees one batch."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from models.gan import ConvOptions, MlpDiscriminator, ProjectionDiscriminator
from models.generator import Generator
from models.spec import ModelSpec
from models.stylegan2 import StyleGan2Options
from models.training.config import Recipe
from models.training.losses import hinge, logistic, reconstruction
from models.vae import ConvEncoder, MlpEncoder, MlpVaeOptions, Posterior, VaeGenerator


class Pair(ABC):
    """A generator, its partner (discriminator or encoder), and their optimizers."""

    def __init__(
        self, generator: Generator, partner: nn.Module, recipe: Recipe, bfloat16: bool
    ) -> None:
        self.generator = generator.to(memory_format=torch.channels_last)
        self.partner = partner.to(memory_format=torch.channels_last)
        self.bfloat16 = bfloat16
        self.optimizers = {
            "generator": _adam(generator, recipe.generator_rate, recipe.betas),
            "partner": _adam(partner, recipe.partner_rate, recipe.betas),
        }

    @abstractmethod
    def update(self, images: Tensor, labels: Tensor | None) -> dict[str, float]:
        """Learn from float [N, C, H, W] and int64 [N]; the losses by name."""

    def autocast(self) -> torch.autocast:
        """Products in bfloat16 where the run asks for it."""
        return torch.autocast(self.generator.device.type, torch.bfloat16, self.bfloat16)

    def latents(self, count: int) -> Tensor:
        """Standard normal float [count, latent_size] of the step's seeded stream."""
        return torch.randn(count, self.generator.latent_size, device=self.generator.device)


def _adam(module: nn.Module, rate: float, betas: tuple[float, float]) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), rate, betas, fused=True)


class AdversarialPair(Pair):
    """Generator against discriminator, one update each, on the same generated images."""

    def __init__(
        self, generator: Generator, partner: nn.Module, recipe: Recipe, bfloat16: bool
    ) -> None:
        super().__init__(generator, partner, recipe, bfloat16)
        self.loss = hinge() if recipe.loss == "hinge" else logistic()

    def update(self, images: Tensor, labels: Tensor | None) -> dict[str, float]:
        with self.autocast():
            made = self.generator(self.latents(len(images)), labels)
        loss_d = self._update_discriminator(images, made.detach(), labels)
        loss_g = self._update_generator(made, labels)
        return {"discriminator": loss_d, "generator": loss_g}

    def _update_discriminator(self, images: Tensor, made: Tensor, labels: Tensor | None) -> float:
        both = torch.cat([images, made.to(images.dtype)])  # [2N, C, H, W]
        twice = None if labels is None else torch.cat([labels, labels])
        with self.autocast():
            real_logits, made_logits = self.partner(both, twice).float().chunk(2)
        loss = self.loss.discriminator(real_logits, made_logits)
        _descend(self.optimizers["partner"], loss)
        return float(loss.detach())

    def _update_generator(self, made: Tensor, labels: Tensor | None) -> float:
        self.partner.requires_grad_(False)  # the discriminator's own gradients are not needed
        with self.autocast():
            loss = self.loss.generator(self.partner(made, labels).float())
        _descend(self.optimizers["generator"], loss)
        self.partner.requires_grad_(True)
        return float(loss.detach())


class VariationalPair(Pair):
    """Encoder, decoder and prior together maximise the evidence lower bound."""

    def __init__(
        self, generator: VaeGenerator, partner: nn.Module, recipe: Recipe, bfloat16: bool
    ) -> None:
        super().__init__(generator, partner, recipe, bfloat16)
        self.decoder = generator
        assert recipe.pixel_variance is not None, "a variational recipe has one"
        self.pixel_variance = recipe.pixel_variance

    def update(self, images: Tensor, labels: Tensor | None) -> dict[str, float]:
        with self.autocast():
            posterior: Posterior = self.partner(images, labels)
            noise = torch.randn_like(posterior.mean)
            code = posterior.mean + (0.5 * posterior.log_variance).exp() * noise
            made = self.decoder.decode(code, labels)
        distortion = reconstruction(images, made.float(), self.pixel_variance)
        rate = self.decoder.prior.divergence(posterior, labels).mean()
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(distortion + rate)
        for optimizer in self.optimizers.values():
            optimizer.step()
        return {"reconstruction": float(distortion.detach()), "divergence": float(rate.detach())}


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimizer.step()


def pair_up(spec: ModelSpec, generator: Generator, recipe: Recipe, bfloat16: bool) -> Pair:
    """The pair that trains a generator of that spec."""
    if isinstance(generator, VaeGenerator):
        return VariationalPair(generator, _partner(spec), recipe, bfloat16)
    return AdversarialPair(generator, _partner(spec), recipe, bfloat16)


def _partner(spec: ModelSpec) -> nn.Module:
    image, latent_size, class_count = spec.image, spec.latent_size, len(spec.classes)
    match spec.architecture:
        case "mlp_gan":
            return MlpDiscriminator(image, class_count)
        case "cgan":
            return ProjectionDiscriminator(image, class_count, _conv_options(spec))
        case "stylegan2":
            return ProjectionDiscriminator(image, class_count, _halving(spec))
        case "vae":
            options = MlpVaeOptions.model_validate(spec.options)
            return MlpEncoder(image, latent_size, class_count, options)
        case "cvae":
            return ConvEncoder(image, latent_size, class_count, _conv_options(spec))
    raise AssertionError(spec.architecture)


def _conv_options(spec: ModelSpec) -> ConvOptions:
    return ConvOptions.model_validate(spec.options)


def _halving(spec: ModelSpec) -> ConvOptions:
    """A discriminator of about the width of that generator, down to 4 to 8 cells a side."""
    options = StyleGan2Options.model_validate(spec.options)
    image = spec.image
    width = min(options.channel_max, options.channel_base // max(image.height, image.width))
    stages = min(image.height, image.width).bit_length() - 3
    return ConvOptions(base=min(max(width, 4), 256), stages=min(max(stages, 1), 6))
