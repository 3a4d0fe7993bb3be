"""Layers of StyleGAN2. Shapes: N images, C channels in, O out, H x W pixels, D style numbers."""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers import SLOPE

GAIN = sqrt(2)  # of LeakyReLU, which keeps the variance of what goes through
EPSILON = 1e-8
MAPPING_RATE = 0.01  # learning rate of the mapping network, relative (Karras et al. 2019, app. C)


def binomial() -> Tensor:
    """The filter [1, 3, 3, 1] in both directions, of sum 1: float [4, 4]."""
    row = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(row, row) / 64


def activated(x: Tensor) -> Tensor:
    """LeakyReLU of slope 0.2, scaled to keep the variance."""
    return F.leaky_relu(x, SLOPE) * GAIN


class PixelNorm(nn.Module):
    """Each vector divided by the root mean square of its numbers: [N, D] -> [N, D]."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + EPSILON)


class Equalised(nn.Module):
    """A linear layer of equalised learning rate: [N, size_in] -> [N, size_out].

    Weights are stored with unit variance and scaled by 1 / sqrt(size_in) when used (Karras et al.
    2018, sec. 4.1); rate: learning rate relative to other layers, by which both are multiplied.
    """

    def __init__(self, size_in: int, size_out: int, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size_out, size_in) / rate)
        self.bias = nn.Parameter(torch.full((size_out,), bias))
        self.scale, self.rate = rate / sqrt(size_in), rate

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class MappingLayer(Equalised):
    """A layer of the mapping network: equalised, then LeakyReLU."""

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__(size_in, size_out, rate=MAPPING_RATE)

    def forward(self, x: Tensor) -> Tensor:
        return activated(super().forward(x))


class ConstantInput(nn.Module):
    """The learned 4 x 4 grid that every image starts from: -> [N, C, 4, 4]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))

    def forward(self, count: int) -> Tensor:
        return self.input.expand(count, -1, -1, -1)


class Blur(nn.Module):
    """Smooths the [N, C, 2H+1, 2W+1] of a transposed convolution of stride 2: [N, C, 2H, 2W].

    The filter is multiplied by 4, since three of four inputs of that convolution were zeros.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", binomial())

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        # A filter is convolved, and conv2d correlates: it is turned round.
        kernel = 4 * self.kernel.flip(0, 1).to(x.dtype).expand(channels, 1, 4, 4)
        return F.conv2d(x, kernel, padding=1, groups=channels)


class Upsample(nn.Module):
    """Zeros between pixels, then the filter times 4: [N, C, H, W] -> [N, C, 2H, 2W]."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", binomial())

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = 4 * self.kernel.to(x.dtype).expand(channels, 1, 4, 4)
        return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=channels)


class ModulatedConvolution(nn.Module):
    """A convolution whose weights a style scales (eq. 1) and a norm scales back (eq. 3).

    With s the style's scale of each input channel and w the weights, w'_oc = s_c w_oc and
    w''_oc = w'_oc / sqrt(sum over c and k of w'_ock^2 + eps). Both scales are constant over
    pixels, so the input is multiplied by s, and the output by the norm: one convolution for all
    images, with the weights they share. [N, C, H, W], [N, D] -> [N, O, H, W] or [N, O, 2H, 2W].
    """

    def __init__(
        self, channels: int, out: int, side: int, style: int, demodulate: bool, up: bool
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, channels, side, side))
        self.modulation = Equalised(style, channels, bias=1.0)
        self.blur = Blur() if up else None
        self.scale, self.demodulate = 1 / sqrt(channels * side * side), demodulate
        # Files hold [1, O, C, k, k], whose first axis is that of images.
        self.register_state_dict_post_hook(_with_image_axis)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_without_image_axis)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scales = self.modulation(style)  # [N, C]
        weight = self.weight * self.scale
        x = x * scales.to(x.dtype)[:, :, None, None]
        if self.blur is None:
            x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        else:
            x = self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        if not self.demodulate:
            return x
        energy = scales.float().square() @ weight.square().sum((2, 3)).float().T  # [N, O]
        return x * torch.rsqrt(energy + EPSILON).to(x.dtype)[:, :, None, None]


def _with_image_axis(
    module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: dict[str, Any]
) -> None:
    state[f"{prefix}weight"] = state[f"{prefix}weight"][None]


def _without_image_axis(
    module: nn.Module, state: dict[str, Tensor], prefix: str, *rest: Any
) -> None:
    weight = state.get(f"{prefix}weight")
    if weight is not None:
        state[f"{prefix}weight"] = weight[0]


class Noise(nn.Module):
    """Adds a picture of noise times one learned number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor | None) -> Tensor:
        return x if noise is None else torch.addcmul(x, noise.to(x.dtype), self.weight.to(x.dtype))


class Activation(nn.Module):
    """Adds a bias of each channel, then LeakyReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return activated(x + self.bias.to(x.dtype)[:, None, None])


class StyledConvolution(nn.Module):
    """Modulated 3 x 3 convolution, noise, bias and LeakyReLU: [N, C, H, W] -> [N, O, ...]."""

    def __init__(self, channels: int, out: int, style: int, up: bool) -> None:
        super().__init__()
        self.conv = ModulatedConvolution(channels, out, 3, style, demodulate=True, up=up)
        self.noise = Noise()
        self.activate = Activation(out)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        y: Tensor = self.activate(self.noise(self.conv(x, style), noise))
        return y


class ToImage(nn.Module):
    """Colours of this resolution, added to the upsampled image of the one below (fig. 7b)."""

    def __init__(self, channels: int, colours: int, style: int, up: bool) -> None:
        super().__init__()
        self.conv = ModulatedConvolution(channels, colours, 1, style, demodulate=False, up=False)
        self.bias = nn.Parameter(torch.zeros(1, colours, 1, 1))
        self.upsample = Upsample() if up else None

    def forward(self, x: Tensor, style: Tensor, below: Tensor | None) -> Tensor:
        image: Tensor = self.conv(x, style) + self.bias
        return image if below is None or self.upsample is None else image + self.upsample(below)
