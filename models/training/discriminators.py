"""Discriminators of the adversarial architectures. They are no part of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from models.gan import MLP_WIDTHS, ConvOptions
from models.layers import SLOPE, LabelJoin, MinibatchSpread
from models.spec import ImageShape


class Verdict(NamedTuple):
    """What a discriminator says of images.

    realness: a logit each, float32 [N]. classes: logits float32 [N, class_count], or None where
    it was not made to tell them.
    """

    realness: Tensor
    classes: Tensor | None


@dataclass(frozen=True)
class Parts:
    """What a recipe puts into a discriminator.

    norm: "none", "spectral" (Miyato et al. 2018), "batch" (Ioffe & Szegedy 2015; not after the
    first layer, Radford et al. 2016) or "layer" (Ba et al. 2016). classifier: whether it also
    tells the class (Odena et al. 2017).
    """

    norm: str = "none"
    dropout: float = 0.0
    classifier: bool = False


class Heads(nn.Module):
    """Features to a verdict: a linear layer, the label by projection, a linear layer of classes.

    With projection, logit = v.h + e(label).h (Miyato & Koyama 2018, eq. 4). The classes never
    see the label.
    """

    def __init__(self, features: int, class_count: int, projection: bool, parts: Parts) -> None:
        super().__init__()
        spectral = parts.norm == "spectral"
        self.realness = _spectral(nn.Linear(features, 1), spectral)
        projected = projection and class_count > 0
        label = nn.Embedding(class_count, features) if projected else None
        self.label = None if label is None else _spectral(label, spectral)
        told = parts.classifier and class_count > 0
        self.classes = nn.Linear(features, class_count) if told else None

    def forward(self, features: Tensor, labels: Tensor | None) -> Verdict:
        features = features.float()  # [N, features]
        logits: Tensor = self.realness(features).float().squeeze(1)
        if self.label is not None:
            logits = logits + (self.label(labels) * features).sum(dim=1)
        classes = None if self.classes is None else self.classes(features).float()
        return Verdict(logits, classes)


class MlpDiscriminator(nn.Module):
    """The mirror of `MlpGan`: H*W*C -> 1024 -> 512 -> 256 -> verdict, LeakyReLU 0.2 between.

    A learned vector of the label is appended to the pixels (Mirza & Osindero 2014), unless the
    class is to be told.
    """

    def __init__(self, image: ImageShape, class_count: int, parts: Parts) -> None:
        super().__init__()
        self.join = LabelJoin(0 if parts.classifier else class_count, 64)
        widths = (image.bytes + self.join.size, *reversed(MLP_WIDTHS[1:]))
        layers: list[nn.Module] = []
        for size_in, size_out in pairwise(widths):
            norm = "none" if parts.norm == "batch" and not layers else parts.norm
            layers += _layer(nn.Linear(size_in, size_out), norm, size_out, parts.dropout)
        self.body = nn.Sequential(*layers)
        self.heads = Heads(widths[-1], class_count, parts.classifier, parts)

    def forward(self, images: Tensor, labels: Tensor | None) -> Verdict:
        verdict: Verdict = self.heads(self.body(self.join(images.flatten(1), labels)), labels)
        return verdict


class ProjectionDiscriminator(nn.Module):
    """Convolutions to a coarse grid, spread of the batch, features, verdict by projection."""

    def __init__(
        self, image: ImageShape, class_count: int, options: ConvOptions, parts: Parts
    ) -> None:
        super().__init__()
        widths = [options.base * 2**stage for stage in range(options.stages + 1)]
        first = "none" if parts.norm == "batch" else parts.norm

        def convolution(narrow: int, wide: int, kernel: int, stride: int, norm: str) -> None:
            layer = nn.Conv2d(narrow, wide, kernel, stride, 1)
            layers.extend(_layer(layer, norm, wide, parts.dropout))

        layers: list[nn.Module] = []
        convolution(image.channels, widths[0], 4, 2, first)
        convolution(widths[0], widths[1], 3, 1, parts.norm)
        height, width = image.height // 2, image.width // 2
        for narrow, wide in pairwise(widths[1:]):
            convolution(narrow, wide, 4, 2, parts.norm)
            height, width = height // 2, width // 2
        layers.append(MinibatchSpread())
        convolution(widths[-1] + 1, widths[-1], 3, 2, parts.norm)
        cells = widths[-1] * ((height + 1) // 2) * ((width + 1) // 2)
        features = 2 * widths[-1]
        layers.append(nn.Flatten())
        layers += _layer(nn.Linear(cells, features), parts.norm, features, parts.dropout)
        self.body = nn.Sequential(*layers)
        self.heads = Heads(features, class_count, True, parts)

    def forward(self, images: Tensor, labels: Tensor | None) -> Verdict:
        verdict: Verdict = self.heads(self.body(images), labels)  # body: [N, 2 * widths[-1]]
        return verdict


def _layer(layer: nn.Linear | nn.Conv2d, norm: str, width: int, dropout: float) -> list[nn.Module]:
    """The layer with its norm, LeakyReLU and dropout."""
    flat = isinstance(layer, nn.Linear)
    made: list[nn.Module] = [_spectral(layer, norm == "spectral")]
    if norm == "batch":
        made.append(nn.BatchNorm1d(width) if flat else nn.BatchNorm2d(width))
    if norm == "layer":
        made.append(nn.LayerNorm(width) if flat else nn.GroupNorm(1, width))
    made.append(nn.LeakyReLU(SLOPE))
    if dropout:
        made.append(nn.Dropout(dropout))
    return made


def _spectral(layer: nn.Module, wanted: bool) -> nn.Module:
    return spectral_norm(layer) if wanted else layer
