"""StyleGAN2 (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN").

Written from the paper's equations. Its tensors have the names and shapes under which PyTorch
checkpoints of StyleGAN2 are usually shared (docs/stylegan2.md), so such a file loads as it is.

Shapes: N images, C channels, H = W pixels, D numbers of a style vector, L styled layers.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from models.errors import SpecError
from models.generator import Generator
from models.latents import normal
from models.layers import centre_crop
from models.spec import Frozen, ImageShape
from models.stylegan2_layers import (
    ConstantInput,
    MappingLayer,
    PixelNorm,
    StyledConvolution,
    ToImage,
    binomial,
)
from models.stylegan2_noise import noise_of

MEAN_OF, MEANS_OF = 1 << 12, 1 << 18
"""Latents averaged for a mean style that a file lacks, of one class and of all: with up to 64
classes the error is below 2 % of a deviation, with 1,000 it is 6 %."""
STREAM = "00" * 32
AVERAGE_DECAY = 0.995  # of the running mean of styles in training, as in the paper's appendix B


class StyleGan2Options(Frozen):
    """Options of `stylegan2`; the paper's values unless stated.

    style_dim: D. mapping_layers: of the mapping network. channel_base, channel_max: channels at a
    side of s pixels are channel_base / s, at most channel_max. channels: in their place, one
    number for each side 4, 8, 16, … pixels.
    noise: `seeded` draws the noise of an image from its own latent, `fixed` takes that of the
    file for every image, `off` adds none.
    truncation: psi; 1 leaves styles as they are, 0 makes every image of a class its mean one.
    truncation_layers: how many of the L layers are truncated; None for all.
    """

    style_dim: int = Field(512, ge=4, le=4096)
    mapping_layers: int = Field(8, ge=1, le=32)
    channel_base: int = Field(32768, ge=16, le=1 << 18)
    channel_max: int = Field(512, ge=1, le=4096)
    channels: tuple[int, ...] | None = Field(None, min_length=1, max_length=9)
    noise: Literal["off", "fixed", "seeded"] = "seeded"
    truncation: float = Field(1.0, ge=0, le=2)
    truncation_layers: int | None = Field(None, ge=0, le=32)


class StyleGan2(Generator):
    """Mapping and synthesis network with skip connections (fig. 7b). Images span (-1, 1).

    Generated at the smallest power of 2 that covers the image, and cropped about the centre.
    Nothing bounds the sum of the skips; in eval mode what lies outside the range is clamped.
    """

    family = "gan"
    value_range = (-1.0, 1.0)
    maps_latents = True
    latent_avg: Tensor

    def __init__(
        self, image: ImageShape, latent_size: int, class_count: int, options: StyleGan2Options
    ) -> None:
        super().__init__(image, latent_size, class_count)
        self.options = options
        sides = _sides(image)
        widths = _widths(options, sides)
        size, colours = options.style_dim, image.channels
        self.label = nn.Embedding(class_count, size) if class_count else None
        joined = latent_size + (size if class_count else 0)
        layers = [
            MappingLayer(joined if place == 0 else size, size)
            for place in range(options.mapping_layers)
        ]
        self.style = nn.Sequential(PixelNorm(), *layers)
        self.input = ConstantInput(widths[0])
        self.conv1 = StyledConvolution(widths[0], widths[0], size, up=False)
        self.to_rgb1 = ToImage(widths[0], colours, size, up=False)
        self.convs, self.to_rgbs = nn.ModuleList(), nn.ModuleList()
        for narrow, wide in pairwise(widths):
            self.convs.append(StyledConvolution(narrow, wide, size, up=True))
            self.convs.append(StyledConvolution(wide, wide, size, up=False))
            self.to_rgbs.append(ToImage(wide, colours, size, up=True))
        self.noise_sides = [sides[0], *(side for side in sides[1:] for _ in range(2))]
        self.noises = nn.Module()
        for place, side in enumerate(self.noise_sides):
            self.noises.register_buffer(f"noise_{place}", torch.zeros(1, 1, side, side))
        mean_shape = (class_count, size) if class_count else (size,)
        self.register_buffer("latent_avg", torch.zeros(mean_shape))

    @property
    def derived(self) -> frozenset[str]:
        """Tensors that follow from the others: filters, the mean style, noise of a fixed seed."""
        return frozenset(
            name
            for name in self.state_dict()
            if name.endswith(".kernel") or name.startswith("noises.") or name == "latent_avg"
        )

    def derive(self, missing: Collection[str]) -> None:
        """Fill in the tensors of `derived` that a file lacks; all others are loaded."""
        for name in missing:
            path, _, leaf = name.rpartition(".")
            owner = self.get_submodule(path)
            if leaf == "kernel":
                owner.register_buffer(leaf, binomial())
            elif leaf != "latent_avg":
                side = self.noise_sides[int(leaf.removeprefix("noise_"))]
                owner.register_buffer(leaf, _drawn(1, side * side).reshape(1, 1, side, side))
        if "latent_avg" in missing:
            self.register_buffer("latent_avg", self.mean_style())

    @torch.no_grad()
    def mean_style(self) -> Tensor:
        """The mean style of latents of a fixed seed: float [D], or [classes, D] with classes."""
        count = max(1, min(MEAN_OF, MEANS_OF // max(self.class_count, 1)))
        z = _drawn(count, self.latent_size).to(self.device)
        if self.label is None:
            return self.map(z, None).mean(0)
        means = [
            self.map(z, torch.full((count,), label, device=z.device)).mean(0)
            for label in range(self.class_count)
        ]
        return torch.stack(means)

    def map(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """float [N, latent_size], int64 [N] or None -> styles float [N, D].

        Latent and class vector are normalised one by one, then joined.
        """
        norm = self.style[0]
        x = norm(z)
        if self.label is not None:
            x = torch.cat([x, norm(self.label(labels).to(x.dtype))], dim=1)
        styles: Tensor = self.style[1:](x)
        return styles

    def forward(self, z: Tensor, labels: Tensor | None, psi: float | None = None) -> Tensor:
        """As of `Generator`; psi takes the place of the option `truncation`."""
        psi = self.options.truncation if psi is None else psi
        styles = self._styles(self.map(z, labels), labels, psi)
        noises = self._noises(z)
        x = self.conv1(self.input(len(z)), styles[0], noises[0])  # [N, C, 4, 4]
        image = self.to_rgb1(x, styles[1], None)
        for stage, to_image in enumerate(self.to_rgbs):
            at = 2 * stage + 1
            x = self.convs[2 * stage](x, styles[at], noises[at])  # [N, C', 2H, 2W]
            x = self.convs[2 * stage + 1](x, styles[at + 1], noises[at + 1])
            image = to_image(x, styles[at + 2], image)
        image = centre_crop(image, self.image.height, self.image.width)
        return image if self.training else image.clamp(*self.value_range)

    def _styles(self, w: Tensor, labels: Tensor | None, psi: float) -> list[Tensor]:
        """[N, D] -> one [N, D] for each of the L layers, truncated towards the mean.

        w' = mean + psi (w - mean) (Karras et al. 2019, appendix B), with the mean of the class.
        """
        count = 2 * len(self.to_rgbs) + 2
        if self.training:
            self._follow_mean(w.detach(), labels)
            return [w] * count
        mean = self.latent_avg if labels is None else self.latent_avg[labels]
        truncated = torch.lerp(mean.expand_as(w).to(w.dtype), w, psi)
        reach = self.options.truncation_layers
        reach = count if reach is None else reach
        return [truncated if place < reach else w for place in range(count)]

    @torch.no_grad()
    def _follow_mean(self, w: Tensor, labels: Tensor | None) -> None:
        if labels is None:
            self.latent_avg.lerp_(w.float().mean(0), 1 - AVERAGE_DECAY)
            return
        for label in set(labels.tolist()):
            mean = w[labels == label].float().mean(0)
            self.latent_avg[label].lerp_(mean, 1 - AVERAGE_DECAY)

    def _noises(self, z: Tensor) -> list[Tensor | None]:
        """One of [N or 1, 1, H, W] for each styled convolution."""
        match self.options.noise:
            case "off":
                return [None] * len(self.noise_sides)
            case "fixed":
                return [self.noises.get_buffer(f"noise_{i}") for i in range(len(self.noise_sides))]
        return list(noise_of(z, self.noise_sides))


def _sides(image: ImageShape) -> list[int]:
    """4, 8, 16, … up to the first that covers the image."""
    sides = [4]
    while sides[-1] < max(image.height, image.width):
        sides.append(2 * sides[-1])
    return sides


def _widths(options: StyleGan2Options, sides: list[int]) -> list[int]:
    if options.channels is None:
        return [max(1, min(options.channel_max, options.channel_base // side)) for side in sides]
    if len(options.channels) != len(sides):
        raise SpecError(
            f"channels has {len(options.channels)} numbers where an image of {sides[-1]} pixels "
            f"takes {len(sides)}: one for each of {sides}"
        )
    return list(options.channels)


def _drawn(count: int, size: int) -> Tensor:
    z = normal(seed=0, model=STREAM, shard=0, first=0, count=count, size=size)
    return torch.from_numpy(z)
