"""Losses, each with its paper. Logits are float [N]; every loss is a scalar mean over images."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
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


def wasserstein() -> AdversarialLoss:
    """Difference of the means (Arjovsky et al. 2017, eq. 2), for a critic of slope 1."""
    return AdversarialLoss(
        lambda real, made: made.mean() - real.mean(),
        lambda made: -made.mean(),
    )


LOSSES = {"hinge": hinge, "logistic": logistic, "wasserstein": wasserstein}


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, made: Tensor) -> Tensor:
    """Mean of (|gradient| - 1)^2 between real and generated images (Gulrajani et al. 2017, eq. 3).

    critic: images float [N, C, H, W] -> logits [N]. Each image lies at a random place on the line
    between a real and a generated one; the gradient is of its logit by its pixels.
    """
    place = torch.rand(len(real), 1, 1, 1, device=real.device)  # [N, 1, 1, 1] in [0, 1)
    between = torch.lerp(made.detach(), real.detach(), place).requires_grad_(True)
    logits = critic(between)
    (slope,) = torch.autograd.grad(logits.sum(), between, create_graph=True)  # [N, C, H, W]
    length: Tensor = torch.linalg.vector_norm(slope.flatten(1), dim=1)  # [N]
    return (length - 1).square().mean()


def reconstruction(images: Tensor, made: Tensor, variance: float) -> Tensor:
    """Negative log likelihood of images under a normal about each pixel, constants left out.

    Squared error of an image over 2 * variance. The variance sets what a detail may cost in
    divergence. Set to the error itself, the best likelihood (Rybkin et al. 2021), latents carried
    45 nats, the class among them, and samples were mixtures of classes.
    """
    error = (images - made).square().flatten(1).sum(dim=1)  # [N]
    return error.mean() / (2 * variance)


def kl_weight(step: int, weight: float, warmup_steps: int) -> float:
    """Weight of the divergence at a step: rises linearly to `weight` (Bowman et al. 2016)."""
    return weight if step >= warmup_steps else weight * (step + 1) / (warmup_steps + 1)
