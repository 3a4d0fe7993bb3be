"""Which two networks learn together, and how."""

from __future__ import annotations

from torch import nn

from models.errors import TrainingError
from models.gan import ConvOptions
from models.generator import Generator
from models.spec import ModelSpec
from models.stylegan2 import StyleGan2Options
from models.training.adversarial import AdversarialPair
from models.training.discriminators import MlpDiscriminator, Parts, ProjectionDiscriminator
from models.training.pair import Pair
from models.training.recipe import Recipe
from models.training.variational import VariationalPair
from models.vae import ConvEncoder, MlpEncoder, MlpVaeOptions, VaeGenerator


def pair_up(spec: ModelSpec, generator: Generator, recipe: Recipe, steps: int) -> Pair:
    """The pair that trains a generator of that spec, in a run of so many steps."""
    if recipe.classification_weight and not spec.classes:
        raise TrainingError("classification_weight needs labels: this model learns without any")
    if isinstance(generator, VaeGenerator):
        return VariationalPair(generator, _encoder(spec, recipe.dropout), recipe, steps)
    return AdversarialPair(generator, _discriminator(spec, recipe), recipe, steps)


def _encoder(spec: ModelSpec, dropout: float) -> nn.Module:
    image, latent_size, class_count = spec.image, spec.latent_size, len(spec.classes)
    if spec.architecture == "vae":
        options = MlpVaeOptions.model_validate(spec.options)
        return MlpEncoder(image, latent_size, class_count, options, dropout)
    return ConvEncoder(image, latent_size, class_count, _conv_options(spec), dropout)


def _discriminator(spec: ModelSpec, recipe: Recipe) -> nn.Module:
    image, class_count = spec.image, len(spec.classes)
    parts = Parts(recipe.discriminator_norm, recipe.dropout, recipe.classification_weight > 0)
    match spec.architecture:
        case "mlp_gan":
            return MlpDiscriminator(image, class_count, parts)
        case "cgan":
            return ProjectionDiscriminator(image, class_count, _conv_options(spec), parts)
        case "stylegan2":
            return ProjectionDiscriminator(image, class_count, _halving(spec), parts)
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
