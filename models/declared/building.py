"""From a layer of the description, at its place, to the module of torch that computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import singledispatch
from types import MappingProxyType

from torch import nn

from models.declared import activations as act
from models.declared import layers as of
from models.declared import modules
from models.declared.nodes import Node


@singledispatch
def make(layer: of.AnyLayer, node: Node, fresh: bool) -> nn.Module | None:
    """The module of a layer; None when it does nothing.

    fresh: nobody else holds what comes in, so an activation may overwrite it, which saves a
    pass over the memory.
    """
    raise TypeError(type(layer))


@make.register
def _(layer: of.Linear, node: Node, fresh: bool) -> nn.Module:
    return nn.Linear(node.shape_in[-1], layer.out, bias=layer.bias)


@make.register
def _(layer: of.Conv, node: Node, fresh: bool) -> nn.Module:
    return nn.Conv2d(
        node.shape_in[0], layer.out, layer.kernel, layer.stride, layer.padding, layer.dilation,
        layer.groups, layer.bias,
    )  # fmt: skip


@make.register
def _(layer: of.ConvTranspose, node: Node, fresh: bool) -> nn.Module:
    return nn.ConvTranspose2d(
        node.shape_in[0], layer.out, layer.kernel, layer.stride, layer.padding,
        layer.output_padding, layer.groups, layer.bias, layer.dilation,
    )  # fmt: skip


@make.register
def _(layer: of.Upsample, node: Node, fresh: bool) -> nn.Module:
    corners = layer.align_corners if layer.mode != "nearest" else None
    if layer.scale is None:
        height, width = node.shape[1:]
        return nn.Upsample((height, width), mode=layer.mode, align_corners=corners)
    height_by, width_by = layer.scale
    return nn.Upsample(scale_factor=(height_by, width_by), mode=layer.mode, align_corners=corners)


@make.register
def _(layer: of.PixelShuffle, node: Node, fresh: bool) -> nn.Module:
    return nn.PixelShuffle(layer.factor)


@make.register
def _(layer: of.Pad, node: Node, fresh: bool) -> nn.Module:
    return modules.Pad(layer.sides, layer.mode)


@make.register
def _(layer: of.Crop, node: Node, fresh: bool) -> nn.Module:
    _, height, width = node.shape_in
    spare = (height - layer.size[0], width - layer.size[1])
    top, left = (0, 0) if layer.anchor == "first" else (spare[0] // 2, spare[1] // 2)
    return modules.Crop(top, left, layer.size)


@make.register
def _(layer: of.BatchNorm, node: Node, fresh: bool) -> nn.Module:
    norm = nn.BatchNorm2d if len(node.shape) == 3 else nn.BatchNorm1d
    return norm(node.shape[0], eps=layer.eps, affine=layer.affine)


@make.register
def _(layer: of.InstanceNorm, node: Node, fresh: bool) -> nn.Module:
    norm = nn.InstanceNorm2d if len(node.shape) == 3 else nn.InstanceNorm1d
    return norm(
        node.shape[0],
        eps=layer.eps,
        affine=layer.affine,
        track_running_stats=layer.running_stats,
    )


@make.register
def _(layer: of.LayerNorm, node: Node, fresh: bool) -> nn.Module:
    shape = node.shape[-(layer.axes or len(node.shape)) :]
    return nn.LayerNorm(shape, eps=layer.eps, elementwise_affine=layer.affine, bias=layer.bias)


@make.register
def _(layer: of.GroupNorm, node: Node, fresh: bool) -> nn.Module:
    return nn.GroupNorm(layer.groups, node.shape[0], eps=layer.eps, affine=layer.affine)


@make.register
def _(layer: of.PixelNorm, node: Node, fresh: bool) -> nn.Module:
    return modules.PixelNorm(layer.eps)


@make.register
def _(layer: of.Affine, node: Node, fresh: bool) -> nn.Module:
    return modules.Affine(layer.scale, layer.shift, len(node.shape))


@make.register
def _(layer: of.Reshape, node: Node, fresh: bool) -> nn.Module | None:
    return modules.Reshape(node.shape) if node.shape != node.shape_in else None


@make.register
def _(layer: of.Dropout, node: Node, fresh: bool) -> None:
    return None


OVERWRITING: Mapping[str, Callable[[bool], nn.Module]] = MappingProxyType(
    {
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "selu": nn.SELU,
        "silu": nn.SiLU,
        "mish": nn.Mish,
        "hardsigmoid": nn.Hardsigmoid,
        "hardswish": nn.Hardswish,
    }
)
PURE: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "softsign": nn.Softsign}
)


@make.register
def _(layer: act.Plain, node: Node, fresh: bool) -> nn.Module | None:
    if layer.type in OVERWRITING:
        return OVERWRITING[layer.type](fresh)
    if layer.type in PURE:
        return PURE[layer.type]()
    return nn.Flatten() if node.shape != node.shape_in else None


@make.register
def _(layer: act.LeakyReLU, node: Node, fresh: bool) -> nn.Module:
    return nn.LeakyReLU(layer.slope, inplace=fresh)


@make.register
def _(layer: act.PReLU, node: Node, fresh: bool) -> nn.Module:
    return nn.PReLU(node.shape[0] if layer.per_channel else 1)


@make.register
def _(layer: act.Elu, node: Node, fresh: bool) -> nn.Module:
    unit = nn.ELU if layer.type == "elu" else nn.CELU
    return unit(layer.alpha, inplace=fresh)


@make.register
def _(layer: act.Gelu, node: Node, fresh: bool) -> nn.Module:
    return nn.GELU(layer.approximate)


@make.register
def _(layer: act.Softplus, node: Node, fresh: bool) -> nn.Module:
    return nn.Softplus(layer.beta, layer.threshold)


@make.register
def _(layer: act.Clamp, node: Node, fresh: bool) -> nn.Module:
    return nn.Hardtanh(layer.low, layer.high)
