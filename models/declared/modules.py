"""Modules that `torch.nn` does not have. Shapes: N images, then the axes of one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.declared.labels import Digit


class Reshape(nn.Module):
    """[N, …] -> [N, *shape]."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(-1, *self.shape)


class PixelNorm(nn.Module):
    """x / sqrt(mean over the channels of x**2 + eps): [N, C, …] -> the same."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + self.eps).rsqrt()


class Affine(nn.Module):
    """x * scale + shift, of one number each or one a channel: [N, C, …] -> the same."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Sequence[float], shift: Sequence[float], axes: int) -> None:
        super().__init__()
        for name, numbers in (("scale", scale), ("shift", shift)):
            # Not of the file, so they exist even where the network is built without memory.
            values = torch.tensor(numbers, device=_real_device()).reshape(-1, *[1] * (axes - 1))
            self.register_buffer(name, values, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


def _real_device() -> torch.device:
    default = torch.get_default_device()
    return torch.device("cpu") if default.type == "meta" else default


class Pad(nn.Module):
    """[N, C, H, W] -> [N, C, H + top + bottom, W + left + right]."""

    def __init__(self, sides: tuple[int, int, int, int], mode: str) -> None:
        super().__init__()
        self.sides = sides
        self.mode = "constant" if mode == "zeros" else mode

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.sides, self.mode)


class Crop(nn.Module):
    """[N, C, H, W] -> [N, C, height, width] from (top, left) on."""

    def __init__(self, top: int, left: int, size: Sequence[int]) -> None:
        super().__init__()
        self.rows = slice(top, top + size[0])
        self.columns = slice(left, left + size[1])

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, self.rows, self.columns]


def merge(ways: list[Tensor], how: str) -> Tensor:
    """Ways [N, …] made one: "concat" along axis 1, "add" or "multiply" value by value."""
    if how == "concat":
        return ways[0] if len(ways) == 1 else torch.cat(ways, dim=1)
    total = ways[0]
    for way in ways[1:]:
        total = total + way if how == "add" else total * way
    return total


class Residual(nn.Module):
    """layers(x) + shortcut(x)."""

    def __init__(self, layers: nn.Sequential, shortcut: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.layers(x) + self.shortcut(x)
        return added


class Parallel(nn.Module):
    """All branches of the same x, merged."""

    def __init__(self, branches: Sequence[nn.Sequential], how: str) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        return merge([branch(x) for branch in self.branches], self.how)


class LatentInput(nn.Module):
    """The latent float [N, D] as it is, or flat: low + (high - low) * Phi(z), then its layers.

    Layers of an input are None where there are none, which saves a call each.
    """

    def __init__(self, uniform: tuple[float, float] | None, layers: nn.Sequential | None) -> None:
        super().__init__()
        self.uniform = uniform
        self.layers = layers

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        if self.uniform is not None:
            low, high = self.uniform
            z = low + (high - low) * torch.special.ndtr(z)
        return z if self.layers is None else self.layers(z)


class ConditionInput(nn.Module):
    """One condition of the label: its row of a table, or zeros and a one; then its layers.

    digit: which part of the label. width: of the table; None for one-hot.
    """

    def __init__(self, digit: Digit, width: int | None, layers: nn.Sequential | None) -> None:
        super().__init__()
        self.digit = digit
        self.weight = None if width is None else nn.Parameter(torch.empty(digit.rows, width))
        if self.weight is not None:
            nn.init.normal_(self.weight)  # as nn.Embedding starts
        self.layers = layers

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        rows = self._rows(z, labels)  # int64 [N]
        if self.weight is None:
            marks = z.new_zeros(len(z), self.digit.rows).scatter_(1, rows[:, None], 1.0)
        else:
            marks = F.embedding(rows, self.weight)
        return marks if self.layers is None else self.layers(marks)

    def _rows(self, z: Tensor, labels: Tensor | None) -> Tensor:
        digit = self.digit
        if digit.fixed is not None or labels is None:
            return torch.full((len(z),), digit.fixed or 0, dtype=torch.int64, device=z.device)
        if digit.direct:
            return labels
        return labels // digit.divisor % digit.values + digit.first


class Join(nn.ModuleList):
    """Inputs made one; a child is named by its place."""

    def __init__(self, inputs: Sequence[nn.Module], how: str) -> None:
        super().__init__(inputs)
        self.how = how

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return merge([each(z, labels) for each in self], self.how)


class JoinInput(nn.Module):
    """Inputs made one, then its layers."""

    def __init__(self, inputs: Join, layers: nn.Sequential | None) -> None:
        super().__init__()
        self.inputs = inputs
        self.layers = layers

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        joined: Tensor = self.inputs(z, labels)
        return joined if self.layers is None else self.layers(joined)
