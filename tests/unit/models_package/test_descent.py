"""One step downhill: clipping, decay of weights and rates, first weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from models.training.average import update_average, warmed
from models.training.descent import Descent, adam, rate_factor
from models.training.initialisation import initialise
from models.training.recipe import Recipe
from models.training.recipes import RECIPES


def recipe(**options: object) -> Recipe:
    return RECIPES["mlp_gan"].with_overrides(options)


def descend(network: nn.Module, made: Recipe, loss: torch.Tensor, step: int = 0) -> None:
    optimizer = adam(network, 0.1, made)
    Descent([optimizer], made, 100, torch.device("cpu"))(loss, step)


@pytest.mark.parametrize(
    ("decay", "wanted"),
    [
        ("none", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0]),
        ("cosine", [1, (1 + math.sqrt(0.5)) / 2, 0.5, 0]),
    ],
)
def test_rates_fall_to_nothing(decay, wanted):
    assert [rate_factor(decay, step, 100) for step in (0, 25, 50, 100)] == pytest.approx(wanted)
    assert rate_factor(decay, 150, 100) == wanted[-1]


@pytest.mark.parametrize(("step", "moved"), [(0, 0.1), (50, 0.05), (75, 0.025)])
def test_a_step_is_as_long_as_the_rate_says(step, moved):
    """Adam's first step has the length of its rate, whatever the gradient."""
    layer = nn.Linear(1, 1, bias=False)
    before = layer.weight.item()
    descend(layer, recipe(rate_decay="linear"), 3 * layer.weight.sum(), step)
    assert before - layer.weight.item() == pytest.approx(moved, rel=1e-4)


def test_a_long_gradient_is_cut_to_its_norm_and_a_short_one_is_left():
    layer = nn.Linear(3, 1, bias=False)
    gradient = torch.tensor([[3.0, 4.0, 12.0]])  # of norm 13
    descend(layer, recipe(clip_norm=1.3), (layer.weight * gradient).sum())
    torch.testing.assert_close(layer.weight.grad, gradient / 10)
    descend(layer, recipe(clip_norm=20), (layer.weight * gradient).sum())
    torch.testing.assert_close(layer.weight.grad, gradient)


def test_weights_decay_and_gains_biases_and_tables_do_not():
    network = nn.Sequential(nn.Linear(4, 4), spectral_norm(nn.Linear(4, 4)), nn.BatchNorm1d(4))
    network.append(nn.Embedding(3, 4))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    nothing = sum((0 * p).sum() for p in network.parameters())
    descend(network, recipe(weight_decay=0.5), nothing)
    decayed = {"0.weight", "1.parametrizations.weight.original"}
    for name, parameter in network.named_parameters():
        share = 1 - 0.1 * 0.5 if name in decayed else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * share)


def test_adam_is_torchs_own():
    ours, theirs = nn.Linear(5, 2), nn.Linear(5, 2)
    theirs.load_state_dict(ours.state_dict())
    made = recipe()
    descent = Descent([adam(ours, 0.01, made)], made, 10, torch.device("cpu"))
    reference = torch.optim.Adam(theirs.parameters(), 0.01, betas=(0.5, 0.999))
    for step in range(5):
        batch = torch.randn(8, 5)
        descent(ours(batch).square().mean(), step)
        reference.zero_grad()
        torch.autograd.backward(theirs(batch).square().mean())
        reference.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


def layers() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(300, 200), nn.Conv2d(30, 40, 4), nn.ConvTranspose2d(40, 30, 4, bias=False),
        spectral_norm(nn.Linear(300, 200)), nn.BatchNorm2d(7), nn.Embedding(9, 9),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("how", "deviations"),
    [
        ("normal", [0.02] * 4),
        ("he", [math.sqrt(2 / 1.04 / fan) for fan in (300, 480, 480, 300)]),
    ],
)
def test_first_weights_have_the_deviation_of_their_paper(how, deviations):
    network = layers()
    table, gain = network[5].weight.clone(), network[4].weight.clone()
    torch.manual_seed(0)
    initialise(network, how)
    originals = [network[k].weight for k in range(3)]
    originals.append(network[3].parametrizations.weight.original)
    for weight, deviation in zip(originals, deviations, strict=True):
        assert weight.std().item() == pytest.approx(deviation, rel=0.03)
        assert abs(weight.mean().item()) < deviation / 20
    assert network[0].bias.eq(0).all()
    assert network[5].weight.equal(table)
    assert network[4].weight.equal(gain)


def test_spectral_norm_knows_a_new_weight_at_once():
    layer = spectral_norm(nn.Linear(60, 50))
    torch.manual_seed(0)
    initialise(layer, "normal")
    layer.eval()
    assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=0.05)


def test_the_default_is_left_alone():
    network = layers()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    initialise(network, "default")
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())


def test_the_average_is_that_of_its_formula():
    average, current = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    with torch.no_grad():
        average.weight.fill_(1.0)
        current.weight.fill_(3.0)
        average.running_mean.fill_(0.0)
        current.running_mean.fill_(10.0)
        current.num_batches_tracked.fill_(7)
    update_average(average, current, 0.75)
    assert average.weight.tolist() == [1.5, 1.5]
    assert average.running_mean.tolist() == [2.5, 2.5]
    assert average.num_batches_tracked.item() == 7
    update_average(average, current, 0.0)
    assert average.weight.equal(current.weight)


def test_the_average_forgets_the_start():
    assert [warmed(0.999, step) for step in (0, 90)] == [0.1, 0.91]
    assert warmed(0.999, 10**6) == 0.999
    assert warmed(0.0, 50) == 0.0
