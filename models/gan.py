"""Generators of generative adversarial networks (Goodfellow et al. 2014).

Their discriminators are needed for training only: `models/training/discriminators.py`.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from models.generator import Generator
from models.layers import LabelJoin, Upsampler, fully_connected
from models.spec import Frozen, ImageShape

MLP_WIDTHS = (128, 256, 512, 1024)


class MlpGanOptions(Frozen):
    """`mlp_gan` has one size; it takes no options."""


class ConvOptions(Frozen):
    """Options of the convolutional architectures, `cgan` and `cvae`.

    base: channels at full resolution; each halving of the side doubles them.
    stages: how many times the generator doubles its coarse grid.
    """

    base: int = Field(32, ge=4, le=256)
    stages: int = Field(2, ge=1, le=6)


class MlpGan(Generator):
    """latent -> 128 -> 256 -> 512 -> 1024 -> H*W*C, LeakyReLU 0.2 between, Tanh at the end.

    With classes, a learned vector of the label is appended to the latent (Mirza & Osindero
    2014). Images span (-1, 1).
    """

    family = "gan"
    value_range = (-1.0, 1.0)

    def __init__(
        self, image: ImageShape, latent_size: int, class_count: int, options: MlpGanOptions
    ) -> None:
        super().__init__(image, latent_size, class_count)
        self.join = LabelJoin(class_count, latent_size // 2 or 1)
        self.body = fully_connected((latent_size + self.join.size, *MLP_WIDTHS))
        self.head = nn.Linear(MLP_WIDTHS[-1], image.bytes)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        x = torch.tanh(self.head(self.body(self.join(z, labels))))  # [N, C*H*W]
        return x.reshape(-1, self.image.channels, self.image.height, self.image.width)


class ConvGan(Generator):
    """Convolutional GAN, label joined to the latent and to each batch norm. Spans (-1, 1)."""

    family = "gan"
    value_range = (-1.0, 1.0)

    def __init__(
        self, image: ImageShape, latent_size: int, class_count: int, options: ConvOptions
    ) -> None:
        super().__init__(image, latent_size, class_count)
        self.trunk = Upsampler(image, latent_size, class_count, options.base, options.stages)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return torch.tanh(self.trunk(z, labels))  # [N, C, H, W]
