"""Variational autoencoders (Kingma & Welling 2014): decoders, which generate, and encoders.

Encoders are needed for training only and are not part of a checkpoint.
"""

from __future__ import annotations

from abc import abstractmethod
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
    """Diagonal normal over codes: mean and log variance, each float [N, latent_size]."""

    mean: Tensor
    log_variance: Tensor


class LabelledPrior(nn.Module):
    """A normal over codes for each class: mean and full covariance, learnt with the rest.

    The conditional prior of Sohn et al. (2015, eq. 4) as a table. With one standard normal for
    all classes, codes kept saying which class they came from, and samples mixed classes.
    Without classes there is one normal.
    """

    def __init__(self, latent_size: int, class_count: int) -> None:
        super().__init__()
        rows = max(1, class_count)
        self.centre = nn.Parameter(torch.zeros(rows, latent_size))
        self.factor = nn.Parameter(torch.zeros(rows, latent_size, latent_size))

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Standard normal latents float [N, D] -> codes float [N, D] of their class."""
        row = self._rows(z, labels)
        spread = self._lower()[row] @ z[:, :, None]  # [N, D, 1]
        return self.centre[row] + spread[:, :, 0]

    def divergence(self, posterior: Posterior, labels: Tensor | None) -> Tensor:
        """KL of each posterior from the prior of its class, in nats: float [N].

        Between normals; with L L' the prior's covariance and A its inverse factor,
        (|A (m - c)|^2 + |A S|^2 - D) / 2 + log det L - log det S.
        """
        mean, log_variance = posterior
        row, lower = self._rows(mean, labels), self._lower()
        unit = torch.eye(mean.shape[1], device=mean.device).expand_as(lower)
        inverse = torch.linalg.solve_triangular(lower, unit, upper=False)[row]  # [N, D, D]
        offset = (inverse @ (mean - self.centre[row])[:, :, None]).square().sum(dim=(1, 2))
        spread = (inverse.square() * log_variance.exp()[:, None, :]).sum(dim=(1, 2))
        volume = self.factor.diagonal(dim1=1, dim2=2)[row].sum(dim=1) - log_variance.sum(dim=1) / 2
        divergence: Tensor = (offset + spread - mean.shape[1]) / 2 + volume
        return divergence

    def _lower(self) -> Tensor:
        """Factors of the covariances, [rows, D, D]: below the diagonal as stored, it as log."""
        diagonal = self.factor.diagonal(dim1=1, dim2=2).exp()
        return self.factor.tril(-1) + torch.diag_embed(diagonal)

    def _rows(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return torch.zeros(len(z), dtype=torch.int64, device=z.device) if labels is None else labels


class VaeGenerator(Generator):
    """Latent to code by the prior, code to image by the decoder. Images span (0, 1)."""

    family = "vae"
    value_range = (0.0, 1.0)

    def __init__(self, image: ImageShape, latent_size: int, class_count: int) -> None:
        super().__init__(image, latent_size, class_count)
        self.prior = LabelledPrior(latent_size, class_count)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return self.decode(self.prior(z, labels), labels)

    @abstractmethod
    def decode(self, code: Tensor, labels: Tensor | None) -> Tensor:
        """float [N, latent_size] -> float [N, C, H, W]."""


class MlpVae(VaeGenerator):
    """Decoder latent -> hidden -> hidden -> H*W*C, LeakyReLU between, Sigmoid at the end: (0, 1).

    With classes, a learned vector of the label is appended to the code (Sohn et al. 2015).
    """

    def __init__(
        self, image: ImageShape, latent_size: int, class_count: int, options: MlpVaeOptions
    ) -> None:
        super().__init__(image, latent_size, class_count)
        self.join = LabelJoin(class_count, latent_size // 2 or 1)
        sizes = (latent_size + self.join.size, options.hidden, options.hidden)
        self.body = fully_connected(sizes)
        self.head = nn.Linear(options.hidden, image.bytes)

    def decode(self, code: Tensor, labels: Tensor | None) -> Tensor:
        x = torch.sigmoid(self.head(self.body(self.join(code, labels))))  # [N, C*H*W]
        return x.reshape(-1, self.image.channels, self.image.height, self.image.width)


class MlpEncoder(nn.Module):
    """The mirror of `MlpVae`: float [N, C, H, W] -> posterior of its codes."""

    def __init__(
        self,
        image: ImageShape,
        latent_size: int,
        class_count: int,
        options: MlpVaeOptions,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.join = LabelJoin(class_count, 64)
        sizes = (image.bytes + self.join.size, options.hidden, options.hidden)
        self.body = fully_connected(sizes, dropout)
        self.head = nn.Linear(options.hidden, 2 * latent_size)

    def forward(self, images: Tensor, labels: Tensor | None) -> Posterior:
        moments = self.head(self.body(self.join(images.flatten(1), labels)))  # [N, 2 * latent]
        return Posterior(*moments.float().chunk(2, dim=1))


class ConvVae(VaeGenerator):
    """Convolutional decoder, label joined to the code and to each batch norm. Spans (0, 1)."""

    def __init__(
        self, image: ImageShape, latent_size: int, class_count: int, options: ConvOptions
    ) -> None:
        super().__init__(image, latent_size, class_count)
        self.trunk = Upsampler(image, latent_size, class_count, options.base, options.stages)

    def decode(self, code: Tensor, labels: Tensor | None) -> Tensor:
        return torch.sigmoid(self.trunk(code, labels))  # [N, C, H, W]


class ConvEncoder(nn.Module):
    """Strided convolutions, then label and features joined: images -> posterior of the codes."""

    def __init__(
        self,
        image: ImageShape,
        latent_size: int,
        class_count: int,
        options: ConvOptions,
        dropout: float = 0.0,
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
        sizes = (widths[-1] * height * width + self.join.size, hidden)
        self.mix = fully_connected(sizes, dropout)
        self.head = nn.Linear(hidden, 2 * latent_size)

    def forward(self, images: Tensor, labels: Tensor | None) -> Posterior:
        features = self.join(self.body(images), labels)  # [N, cells + label]
        return Posterior(*self.head(self.mix(features)).float().chunk(2, dim=1))
