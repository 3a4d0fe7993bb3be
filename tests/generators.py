"""Generators that are made for one test."""

from __future__ import annotations

import torch
from torch import Tensor

from models.generator import Generator
from tests.builders import image


class Broken(Generator):
    """Gives NaN, infinity or the wrong shape, depending on the latent's first value."""

    family = "gan"
    value_range = (-1.0, 1.0)

    def __init__(self, wrong_shape: bool = False) -> None:
        super().__init__(image(4, 4), 3, 0)
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.wrong_shape = wrong_shape

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        images = torch.zeros(len(z), 1, 4, 4)
        images[z[:, 0] > 1, 0, 2, 2] = torch.nan
        images[z[:, 0] < -1, 0, 3, 3] = -torch.inf
        return images[:-1] if self.wrong_shape else images
