"""Generative adversarial networks (Goodfellow et al. 2014): generators and discriminators.

Discriminators are needed for training only and are not part of a checkpoint.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from models.generator import Generator
from models.layers import SLOPE, LabelJoin, MinibatchSpread, Upsampler, fully_connected
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


class MlpDiscriminator(nn.Module):
    """The mirror of `MlpGan`, dropout 0.3 after each layer: images -> one logit each, [N]."""

    def __init__(self, image: ImageShape, class_count: int) -> None:
        super().__init__()
        self.join = LabelJoin(class_count, 64)
        widths = (image.bytes + self.join.size, *reversed(MLP_WIDTHS[1:]))
        self.body = fully_connected(widths, dropout=0.3)
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        logits: Tensor = self.head(self.body(self.join(images.flatten(1), labels)))
        return logits.squeeze(1)


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


class ProjectionDiscriminator(nn.Module):
    """Spectrally normed convolutions, label by projection: images -> one logit each, [N].

    logit = v.h + e(label).h, with h the features of the image (Miyato & Koyama 2018, eq. 4);
    spectral norm keeps each layer 1-Lipschitz (Miyato et al. 2018).
    """

    def __init__(self, image: ImageShape, class_count: int, options: ConvOptions) -> None:
        super().__init__()
        widths = [options.base * 2**stage for stage in range(options.stages + 1)]
        parts: list[nn.Module] = [_normed(nn.Conv2d(image.channels, widths[0], 4, 2, 1))]
        height, width = image.height // 2, image.width // 2
        parts += [nn.LeakyReLU(SLOPE), _normed(nn.Conv2d(widths[0], widths[1], 3, 1, 1))]
        for narrow, wide in pairwise(widths[1:]):
            parts += [nn.LeakyReLU(SLOPE), _normed(nn.Conv2d(narrow, wide, 4, 2, 1))]
            height, width = height // 2, width // 2
        parts += [nn.LeakyReLU(SLOPE), MinibatchSpread()]
        parts += [_normed(nn.Conv2d(widths[-1] + 1, widths[-1], 3, 2, 1)), nn.LeakyReLU(SLOPE)]
        cells = widths[-1] * ((height + 1) // 2) * ((width + 1) // 2)
        features = 2 * widths[-1]
        parts += [nn.Flatten(), _normed(nn.Linear(cells, features)), nn.LeakyReLU(SLOPE)]
        self.body = nn.Sequential(*parts)
        self.head = _normed(nn.Linear(features, 1))
        self.label = _normed(nn.Embedding(class_count, features)) if class_count else None

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        features = self.body(images).float()  # [N, 2 * widths[-1]]
        logits: Tensor = self.head(features).float().squeeze(1)
        if self.label is None:
            return logits
        projected: Tensor = (self.label(labels) * features).sum(dim=1)  # [N]
        return logits + projected


def _normed(layer: nn.Module) -> nn.Module:
    return spectral_norm(layer)
