"""One step downhill: Adam with what the recipe adds to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from models.training.recipe import Recipe

DECAYED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
"""Layers whose weights decay; gains, shifts and tables of labels do not."""


def adam(network: nn.Module, rate: float, recipe: Recipe) -> Optimizer:
    """Adam (Kingma & Ba 2015); AdamW (Loshchilov & Hutter 2019) where weights decay."""
    if not recipe.weight_decay:
        return torch.optim.Adam(network.parameters(), rate, recipe.betas, fused=True)
    decayed = {id(p) for p in _weights(network)}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if id(p) in decayed]},
        {"params": [p for p in network.parameters() if id(p) not in decayed], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, rate, recipe.betas, weight_decay=recipe.weight_decay, fused=True
    )


def _weights(network: nn.Module) -> list[nn.Parameter]:
    """Of the decayed layers, whatever parametrises them (spectral norm keeps its original)."""
    layers = [layer for layer in network.modules() if isinstance(layer, DECAYED)]
    return [p for layer in layers for name, p in layer.named_parameters() if "bias" not in name]


def rate_factor(decay: str, step: int, steps: int) -> float:
    """What step sizes are multiplied by at a step of `steps`: from 1 towards 0.

    cosine: (1 + cos(pi t)) / 2 of the share t that is done (Loshchilov & Hutter 2017, eq. 5).
    """
    done = min(step / steps, 1.0)
    match decay:
        case "linear":
            return 1 - done
        case "cosine":
            return (1 + cos(pi * done)) / 2
    return 1.0


class Descent:
    """Takes the networks of some optimizers down one loss.

    float16 scales the loss so that small gradients survive (Micikevicius et al. 2018, sec. 3.2);
    the scale is part of the run's state.
    """

    def __init__(
        self, optimizers: Sequence[Optimizer], recipe: Recipe, steps: int, device: torch.device
    ) -> None:
        self.optimizers = tuple(optimizers)
        self.recipe = recipe
        self.steps = steps
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "float16")
        self.rates = [[group["lr"] for group in opt.param_groups] for opt in self.optimizers]

    def __call__(self, loss: Tensor, step: int) -> None:
        """One step of every optimizer down the gradient of `loss`."""
        factor = rate_factor(self.recipe.rate_decay, step, self.steps)
        for optimizer, rates in zip(self.optimizers, self.rates, strict=True):
            optimizer.zero_grad(set_to_none=True)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        torch.autograd.backward(self.scaler.scale(loss))
        for optimizer in self.optimizers:
            self._clip(optimizer)
            self.scaler.step(optimizer)
        self.scaler.update()

    def _clip(self, optimizer: Optimizer) -> None:
        if not self.recipe.clip_norm:
            return
        self.scaler.unscale_(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, self.recipe.clip_norm)

    def scale(self) -> dict[str, Tensor]:
        """The loss scale and how long it has held; nothing unless it is used."""
        state = self.scaler.state_dict()
        return {k: torch.tensor(state[k]) for k in ("scale", "_growth_tracker") if k in state}

    def restore_scale(self, scale: Mapping[str, Tensor]) -> None:
        """Put back what `scale` gave."""
        if scale:
            values = {name: tensor.item() for name, tensor in scale.items()}
            self.scaler.load_state_dict({**self.scaler.state_dict(), **values})
