"""Variational autoencoders (Kingma & Welling 2014): decoders, which generate, and encoders.

Encoders are needed for training only and are not part of a checkpoint.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from models.gan import ConvOptions
from models.generator import Generator
from models.layers import SLOPE, LabelJoin, Upsampler, fully_connected
from models.spec import Frozen, ImageShape


class MlpVaeOptions(Frozen):
    """hidden: units of each of the two hidden layers."""

    hidden: int = Field(512, ge=8, le=4096)


class Posterior(NamedTuple):
    """Diagonal normal over latents: mean and log variance, each float [N, latent_size]."""

    mean: Tensor
    log_variance: Tensor


class MlpVae(Generator):
    """Decoder latent -> hidden -> hidden -> H*W*C, LeakyReLU between, Sigmoid at the end: (0, 1).

    With classes, a learned vector of the label is appended to the latent (Sohn et al. 2015).
    """

    family = "vae"
    value_range = (0.0, 1.0)

    def __init__(
        self, image: ImageShape, latent_size: int, class_count: int, options: MlpVaeOptions
    ) -> None:
        super().__init__(image, latent_size, class_count)
        self.join = LabelJoin(class_count, latent_size // 2 or 1)
        sizes = (latent_size + self.join.size, options.hidden, options.hidden)
        self.body = fully_connected(sizes)
        self.head = nn.Linear(options.hidden, image.bytes)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        x = torch.sigmoid(self.head(self.body(self.join(z, labels))))  # [N, C*H*W]
        return x.reshape(-1, self.image.channels, self.image.height, self.image.width)


class MlpEncoder(nn.Module):
    """The mirror of `MlpVae`: float [N, C, H, W] -> posterior of its latents."""

    def __init__(
        self, image: ImageShape, latent_size: int, class_count: int, options: MlpVaeOptions
    ) -> None:
        super().__init__()
        self.join = LabelJoin(class_count, 64)
        sizes = (image.bytes + self.join.size, options.hidden, options.hidden)
        self.body = fully_connected(sizes)
        self.head = nn.Linear(options.hidden, 2 * latent_size)

    def forward(self, images: Tensor, labels: Tensor | None) -> Posterior:
        moments = self.head(self.body(self.join(images.flatten(1), labels)))  # [N, 2 * latent]
        return Posterior(*moments.float().chunk(2, dim=1))


class ConvVae(Generator):
    """Convolutional decoder, label joined to the latent and to each batch norm. Spans (0, 1)."""

    family = "vae"
    value_range = (0.0, 1.0)

    def __init__(
        self, image: ImageShape, latent_size: int, class_count: int, options: ConvOptions
    ) -> None:
        super().__init__(image, latent_size, class_count)
        self.trunk = Upsampler(image, latent_size, class_count, options.base, options.stages)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return torch.sigmoid(self.trunk(z, labels))  # [N, C, H, W]


class ConvEncoder(nn.Module):
    """Strided convolutions, then label and features joined: images -> posterior of the latents."""

    def __init__(
        self, image: ImageShape, latent_size: int, class_count: int, options: ConvOptions
    ) -> None:
        super().__init__()
        widths = [image.channels, *(options.base * 2**stage for stage in range(options.stages + 1))]
        parts: list[nn.Module] = []
        height, width = image.height, image.width
        for narrow, wide in pairwise(widths):
            parts += [nn.Conv2d(narrow, wide, 3, 2, 1, bias=False), nn.BatchNorm2d(wide)]
            parts.append(nn.LeakyReLU(SLOPE))
            height, width = (height + 1) // 2, (width + 1) // 2
        self.body = nn.Sequential(*parts, nn.Flatten())
        self.join = LabelJoin(class_count, 64)
        hidden = 2 * widths[-1]
        self.mix = fully_connected((widths[-1] * height * width + self.join.size, hidden))
        self.head = nn.Linear(hidden, 2 * latent_size)

    def forward(self, images: Tensor, labels: Tensor | None) -> Posterior:
        features = self.join(self.body(images), labels)  # [N, cells + label]
        return Posterior(*self.head(self.mix(features)).float().chunk(2, dim=1))
