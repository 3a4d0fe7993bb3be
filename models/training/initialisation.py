"""First weights of a network, where a recipe wants others than torch gives."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from models.layers import SLOPE

DEVIATION = 0.02
"""Of the normal of Radford et al. 2016."""
SETTLING = 15
"""Power iterations after which spectral norm knows a new weight, as torch takes at the start."""


@torch.no_grad()
def initialise(network: nn.Module, how: str) -> None:
    """Draw the weights of linear and convolutional layers anew; biases become 0.

    normal: deviation 0.02 (Radford et al. 2016). he: variance 2 / ((1 + 0.2^2) fan-in), for
    LeakyReLU of slope 0.2 (He et al. 2015, eq. 15). default: nothing is done.
    """
    if how == "default":
        return
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            _draw(layer, how)


def _draw(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, how: str) -> None:
    spectral = is_parametrized(layer, "weight")
    weight = layer.weight
    if spectral:
        weight = layer.get_parameter("parametrizations.weight.original")
    if how == "normal":
        nn.init.normal_(weight, 0.0, DEVIATION)
    else:
        nn.init.kaiming_normal_(weight, a=SLOPE)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    for _ in range(SETTLING if spectral else 0):
        _ = layer.weight  # each look is one power iteration while the layer is in training mode
