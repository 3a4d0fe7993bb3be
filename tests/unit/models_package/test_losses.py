"""Each loss against its formula, and the gradient penalty against a gradient known by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from models.training.losses import (
    LOSSES,
    gradient_penalty,
    hinge,
    kl_weight,
    logistic,
    reconstruction,
    wasserstein,
)

REAL, MADE = torch.tensor([2.0, 0.0, -3.0]), torch.tensor([-2.0, 1.0, 0.5])


def test_logistic_is_binary_cross_entropy():
    ones, zeros = torch.ones(3), torch.zeros(3)
    entropy = F.binary_cross_entropy_with_logits
    wanted = entropy(REAL, ones) + entropy(MADE, zeros)
    assert logistic().discriminator(REAL, MADE).item() == pytest.approx(wanted.item())
    assert logistic().generator(MADE).item() == pytest.approx(entropy(MADE, ones).item())
    assert logistic().generator(torch.zeros(4)).item() == pytest.approx(math.log(2))


def test_hinge_stops_at_the_margin():
    assert hinge().discriminator(REAL, MADE).item() == pytest.approx((0 + 1 + 4) / 3 + 3.5 / 3)
    assert hinge().discriminator(torch.full((2,), 1.0), torch.full((2,), -1.0)).item() == 0
    assert hinge().generator(MADE).item() == pytest.approx(0.5 / 3)


def test_wasserstein_is_the_difference_of_the_means():
    assert wasserstein().discriminator(REAL, MADE).item() == pytest.approx(-0.5 / 3 + 1 / 3)
    assert wasserstein().generator(MADE).item() == pytest.approx(0.5 / 3)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_discriminator_that_is_right_has_the_lower_loss(name):
    """And a generator whose images pass for real has the lower loss of its own."""
    loss = LOSSES[name]()
    high, low = torch.full((4,), 0.9), torch.full((4,), -0.9)
    assert loss.discriminator(high, low) < loss.discriminator(low, high)
    assert loss.generator(high) < loss.generator(low)


def test_the_penalty_of_a_linear_critic_is_that_of_its_slope():
    """The gradient of w.x is w everywhere, so the place between the images does not matter."""
    slope = torch.randn(1, 2, 3, 3)
    real, made = torch.randn(5, 2, 3, 3), torch.randn(5, 2, 3, 3)
    penalty = gradient_penalty(lambda x: (x * slope).sum(dim=(1, 2, 3)), real, made)
    assert penalty.item() == pytest.approx((slope.norm().item() - 1) ** 2, rel=1e-5)


def test_the_penalty_of_a_quadratic_critic_and_its_gradient():
    """D(x) = a |x|^2 / 2 has the gradient a x: the penalty is mean (a |x| - 1)^2, at the places
    that the seed gives, and its derivative by a is mean 2 |x| (a |x| - 1)."""
    real, made = torch.randn(6, 1, 4, 4), torch.randn(6, 1, 4, 4)
    scale = torch.tensor(0.7, requires_grad=True)
    torch.manual_seed(3)
    penalty = gradient_penalty(lambda x: scale * x.square().sum(dim=(1, 2, 3)) / 2, real, made)
    (derivative,) = torch.autograd.grad(penalty, scale)
    torch.manual_seed(3)
    place = torch.rand(6, 1, 1, 1)
    length = (place * real + (1 - place) * made).flatten(1).norm(dim=1)
    assert penalty.item() == pytest.approx(((0.7 * length - 1) ** 2).mean().item(), rel=1e-5)
    wanted = (2 * length * (0.7 * length - 1)).mean().item()
    assert derivative.item() == pytest.approx(wanted, rel=1e-5)


def test_the_penalty_reaches_no_image():
    real = torch.randn(4, 1, 2, 2, requires_grad=True)
    made = torch.randn(4, 1, 2, 2, requires_grad=True)
    weight = torch.randn(1, 1, 2, 2, requires_grad=True)
    torch.autograd.backward(gradient_penalty(lambda x: (weight * x).sum((1, 2, 3)), real, made))
    assert real.grad is None
    assert made.grad is None
    assert weight.grad.abs().sum() > 0


def test_reconstruction_is_the_squared_error_over_twice_the_variance():
    images = torch.zeros(2, 1, 2, 2)
    assert reconstruction(images, images + 0.1, 0.05).item() == pytest.approx(4 * 0.01 / 0.1)


def test_the_weight_of_the_divergence_rises_and_stays():
    weights = [kl_weight(step, 2.0, 4) for step in range(7)]
    assert weights == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0, 2.0, 2.0])
    assert kl_weight(0, 1.0, 0) == 1.0
