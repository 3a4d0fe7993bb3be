"""Losses, each with its paper. Logits are float [N]; every loss is a scalar mean over images."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F


class AdversarialLoss(NamedTuple):
    """discriminator(real logits, generated logits) and generator(generated logits)."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def hinge() -> AdversarialLoss:
    """Hinge loss (Lim & Ye 2017): the discriminator is content beyond a margin of 1."""
    return AdversarialLoss(
        lambda real, made: F.relu(1 - real).mean() + F.relu(1 + made).mean(),
        lambda made: -made.mean(),
    )


def logistic() -> AdversarialLoss:
    """Binary cross entropy, non-saturating for the generator (Goodfellow et al. 2014, sec. 3)."""
    return AdversarialLoss(
        lambda real, made: F.softplus(-real).mean() + F.softplus(made).mean(),
        lambda made: F.softplus(-made).mean(),
    )


def reconstruction(images: Tensor, made: Tensor, variance: float) -> Tensor:
    """Negative log likelihood of images under a normal about each pixel, constants left out.

    Squared error of an image over 2 * variance. The variance sets what a detail may cost in
    divergence. Set to the error itself, the best likelihood (Rybkin et al. 2021), latents carried
    45 nats, the class among them, and samples were mixtures of classes.
    """
    error = (images - made).square().flatten(1).sum(dim=1)  # [N]
    return error.mean() / (2 * variance)
