"""Parts that the architectures share. Shapes: N images, C channels, H height, W width."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.spec import ImageShape

SLOPE = 0.2
"""Negative slope of every LeakyReLU, as DCGAN sets it (Radford et al. 2016)."""


def fully_connected(sizes: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Linear and LeakyReLU (and dropout) for each step of `sizes`: [N, first] -> [N, last]."""
    parts: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        parts += [nn.Linear(size_in, size_out), nn.LeakyReLU(SLOPE)]
        if dropout:
            parts.append(nn.Dropout(dropout))
    return nn.Sequential(*parts)


class LabelJoin(nn.Module):
    """Appends a learned vector of the label: [N, D] -> [N, D + size]; no labels, no change."""

    def __init__(self, class_count: int, size: int) -> None:
        super().__init__()
        self.size = size if class_count else 0
        self.embedding = nn.Embedding(class_count, size) if class_count else None

    def forward(self, flat: Tensor, labels: Tensor | None) -> Tensor:
        if self.embedding is None:
            return flat
        return torch.cat([flat, self.embedding(labels).to(flat.dtype)], dim=1)


class LabelledBatchNorm(nn.Module):
    """Batch norm whose gain and shift depend on the label (de Vries et al. 2017, eq. 3-4).

    Without classes it is plain batch norm. [N, C, H, W] -> the same shape.
    """

    def __init__(self, channels: int, class_count: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=class_count == 0)
        self.gain = nn.Embedding(class_count, channels) if class_count else None
        self.shift = nn.Embedding(class_count, channels) if class_count else None
        if self.gain is not None and self.shift is not None:
            nn.init.ones_(self.gain.weight)
            nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        if self.gain is None or self.shift is None or labels is None:
            normed: Tensor = self.norm(x)
            return normed
        gain, shift = self.gain.weight, self.shift.weight  # [classes, C]
        if self.training:
            x = self.norm(x)
        else:  # statistics are fixed: norm, gain and shift are one multiplication and addition
            mean, variance = self.norm.running_mean, self.norm.running_var
            assert mean is not None
            assert variance is not None
            gain = gain * torch.rsqrt(variance + self.norm.eps)
            shift = shift - gain * mean
        gain = F.embedding(labels, gain).to(x.dtype)[:, :, None, None]  # [N, C, 1, 1]
        shift = F.embedding(labels, shift).to(x.dtype)[:, :, None, None]
        return torch.addcmul(shift, x, gain)


class Upsampler(nn.Module):
    """Latent and label to logits of an image: the trunk that cgan and cvae share.

    A linear layer paints a coarse grid with `base * 2**stages` channels; each stage doubles the
    side and halves the channels by a 4x4 transposed convolution of stride 2 (kernel a multiple
    of the stride: even overlap, Odena et al. 2016); a 3x3 convolution gives the image. A side
    that is no multiple of 2**stages is generated larger and cropped about its centre.
    """

    def __init__(
        self, image: ImageShape, latent_size: int, class_count: int, base: int, stages: int
    ) -> None:
        super().__init__()
        scale = 2**stages
        self.image = image
        self.grid = (base * scale, -(-image.height // scale), -(-image.width // scale))
        self.join = LabelJoin(class_count, latent_size // 2 or 1)
        cells = self.grid[0] * self.grid[1] * self.grid[2]
        self.paint = nn.Linear(latent_size + self.join.size, cells)
        widths = [base * 2**stage for stage in range(stages, -1, -1)]
        self.norms = nn.ModuleList(LabelledBatchNorm(width, class_count) for width in widths)
        self.doublings = nn.ModuleList(
            nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False)  # the norm's shift is the bias
            for wide, narrow in pairwise(widths)
        )
        self.finish = nn.Conv2d(base, image.channels, 3, 1, 1)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        x = self.paint(self.join(z, labels)).reshape(-1, *self.grid)  # [N, base*2**s, h, w]
        drawing = not torch.is_grad_enabled()  # nothing is kept for a backward pass
        x = F.relu(self.norms[0](x, labels), inplace=drawing)
        for doubling, norm in zip(self.doublings, list(self.norms)[1:], strict=True):
            x = F.relu(norm(doubling(x), labels), inplace=drawing)  # [N, C/2, 2h, 2w]
        thin = drawing and self.image.channels == 1 and x.device.type == "cpu"
        x = thin_convolution(x, self.finish) if thin else self.finish(x)
        return centre_crop(x, self.image.height, self.image.width)


def thin_convolution(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """A 3x3 convolution to few channels, float [N, C, H, W] -> float32 [N, few, H, W].

    The kernels of a processor work on 16 output channels at a time, so one costs as much as 16:
    here each of the nine taps is a row of one matrix product, and their planes are added up.
    Equal to `layer` but for rounding.
    """
    count, channels, height, width = x.shape
    taps = layer.weight.flip(2, 3).permute(0, 2, 3, 1).reshape(-1, channels)  # [few*9, C]
    pixels = x.permute(0, 2, 3, 1).reshape(count, height * width, channels)
    planes = torch.matmul(taps, pixels.transpose(1, 2)).float()  # [N, few*9, H*W]
    image = F.fold(planes, (height, width), kernel_size=3, padding=1)
    return image if layer.bias is None else image + layer.bias[:, None, None]


def centre_crop(x: Tensor, height: int, width: int) -> Tensor:
    """[N, C, H, W] -> [N, C, height, width] about the centre, the odd pixel off the far side."""
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    return x[:, :, top : top + height, left : left + width]


class MinibatchSpread(nn.Module):
    """Appends one channel: how much images of a small group differ (Karras et al. 2018, sec. 3).

    A discriminator that sees the spread of its batch notices a generator that repeats itself.
    Groups are neighbours in the batch, so a batch sorted by label compares like with like, and
    real and generated images that follow one another never share a group.
    [N, C, H, W] -> [N, C + 1, H, W]; N is a multiple of `group`.
    """

    def __init__(self, group: int = 4) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        count, _, height, width = x.shape
        groups = x.float().reshape(-1, self.group, *x.shape[1:])  # [N/g, g, C, H, W]
        variance = (groups - groups.mean(1, keepdim=True)).square().mean(1)  # [N/g, C, H, W]
        spread = (variance + 1e-8).sqrt().mean(dim=(1, 2, 3))  # [N/g]
        plane = spread.repeat_interleave(self.group)[:, None, None, None]  # [N, 1, 1, 1]
        return torch.cat([x, plane.to(x.dtype).expand(count, 1, height, width)], dim=1)
