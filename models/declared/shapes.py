"""What each layer makes of the shape of one image, and which tensors it wants. Imports no torch.

Formulas are those of the pages of `torch.nn`. Arithmetic is of Python's integers, so nothing
overflows and nothing is allocated.
"""

from __future__ import annotations

from functools import singledispatch
from math import prod
from typing import NamedTuple

from models.declared import activations as act
from models.declared import layers as of
from models.errors import SpecError

Shape = tuple[int, ...]


class Effect(NamedTuple):
    """A layer at its place.

    shape: of what it gives for one image.
    tensors: local name -> shape, in the order of `state_dict`.
    operations: multiplications for one image; unfolded: numbers a convolution may lay out for it.
    """

    shape: Shape
    tensors: dict[str, Shape]
    operations: int = 0
    unfolded: int = 0


class MisfitError(SpecError):
    """A layer can't be where it is; the message lacks its path, which the caller adds."""


@singledispatch
def effect(layer: of.AnyLayer, shape: Shape) -> Effect:
    """Shape, tensors and cost of `layer` behind something of `shape`, or MisfitError."""
    raise TypeError(type(layer))


def _image(shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise MisfitError(
            f"found {list(shape)}, wanted [channels, height, width]; put a reshape before it"
        )
    return shape[0], shape[1], shape[2]


def _check_in(stated: int | None, found: int) -> None:
    if stated is not None and stated != found:
        raise MisfitError(f'"in" is {stated}, found {found}')


@effect.register
def _(layer: of.Linear, shape: Shape) -> Effect:
    _check_in(layer.size_in, shape[-1])
    tensors: dict[str, Shape] = {"weight": (layer.out, shape[-1])}
    if layer.bias:
        tensors["bias"] = (layer.out,)
    return Effect((*shape[:-1], layer.out), tensors, layer.out * prod(shape))


def _check_groups(layer: of.Conv, channels: int) -> None:
    _check_in(layer.size_in, channels)
    if channels % layer.groups or layer.out % layer.groups:
        raise MisfitError(f"{channels} channels in and {layer.out} out, in {layer.groups} groups")


@effect.register
def _(layer: of.Conv, shape: Shape) -> Effect:
    channels, *sides = _image(shape)
    _check_groups(layer, channels)
    found = [
        (side + 2 * margin - spread * (kernel - 1) - 1) // stride + 1
        for side, kernel, stride, margin, spread in zip(
            sides, layer.kernel, layer.stride, layer.padding, layer.dilation, strict=True
        )
    ]
    weight = (layer.out, channels // layer.groups, *layer.kernel)
    return _convolved(layer, weight, found, channels * prod(layer.kernel) * prod(found))


@effect.register
def _(layer: of.ConvTranspose, shape: Shape) -> Effect:
    channels, *sides = _image(shape)
    _check_groups(layer, channels)
    for extra, stride, spread in zip(
        layer.output_padding, layer.stride, layer.dilation, strict=True
    ):
        if extra >= max(stride, spread):
            raise MisfitError(f"output_padding {extra} must be below stride or dilation")
    found = [
        (side - 1) * stride - 2 * margin + spread * (kernel - 1) + extra + 1
        for side, kernel, stride, margin, spread, extra in zip(
            sides, layer.kernel, layer.stride, layer.padding, layer.dilation,
            layer.output_padding, strict=True,
        )
    ]  # fmt: skip
    weight = (channels, layer.out // layer.groups, *layer.kernel)
    return _convolved(layer, weight, found, layer.out * prod(layer.kernel) * prod(sides))


def _convolved(layer: of.Conv, weight: Shape, sides: list[int], unfolded: int) -> Effect:
    if min(sides) < 1:
        raise MisfitError(f"its kernel {list(layer.kernel)} leaves an image of {sides} pixels")
    tensors: dict[str, Shape] = {"weight": weight}
    if layer.bias:
        tensors["bias"] = (layer.out,)
    partners = weight[1] if isinstance(layer, of.ConvTranspose) else layer.out // layer.groups
    return Effect((layer.out, *sides), tensors, unfolded * partners, unfolded)


@effect.register
def _(layer: of.Upsample, shape: Shape) -> Effect:
    channels, height, width = _image(shape)
    if (layer.scale is None) == (layer.size is None):
        raise MisfitError("either scale or size is stated")
    if layer.align_corners and layer.mode == "nearest":
        raise MisfitError("align_corners belongs to bilinear and bicubic")
    if layer.size is not None:
        sides = layer.size
    elif layer.scale is not None:
        sides = (height * layer.scale[0], width * layer.scale[1])
    taps = {"nearest": 0, "bilinear": 4, "bicubic": 16}[layer.mode]
    return Effect((channels, *sides), {}, taps * channels * prod(sides))


@effect.register
def _(layer: of.PixelShuffle, shape: Shape) -> Effect:
    channels, height, width = _image(shape)
    if channels % layer.factor**2:
        raise MisfitError(f"found {channels} channels, wanted a multiple of {layer.factor**2}")
    return Effect((channels // layer.factor**2, height * layer.factor, width * layer.factor), {})


@effect.register
def _(layer: of.Pad, shape: Shape) -> Effect:
    channels, height, width = _image(shape)
    left, right, top, bottom = layer.sides
    if layer.mode == "reflect" and (max(left, right) >= width or max(top, bottom) >= height):
        raise MisfitError(f"reflects {list(layer.sides)} pixels of {height} x {width}")
    return Effect((channels, height + top + bottom, width + left + right), {})


@effect.register
def _(layer: of.Crop, shape: Shape) -> Effect:
    channels, height, width = _image(shape)
    if layer.size[0] > height or layer.size[1] > width:
        raise MisfitError(f"found {height} x {width} pixels, wanted {list(layer.size)} of them")
    return Effect((channels, *layer.size), {})


def _scaled(*shape: int, bias: bool = True) -> dict[str, Shape]:
    return {"weight": shape, "bias": shape} if bias else {"weight": shape}


def _running(channels: int) -> dict[str, Shape]:
    return {
        "running_mean": (channels,),
        "running_var": (channels,),
        "num_batches_tracked": (),
    }


@effect.register
def _(layer: of.BatchNorm, shape: Shape) -> Effect:
    scaled = _scaled(shape[0]) if layer.affine else {}
    return Effect(shape, scaled | _running(shape[0]), 2 * prod(shape))


@effect.register
def _(layer: of.InstanceNorm, shape: Shape) -> Effect:
    if len(shape) < 2 or (prod(shape[1:]) < 2 and not layer.running_stats):
        raise MisfitError(f"found {list(shape)}, wanted more than one pixel in a channel")
    scaled = _scaled(shape[0]) if layer.affine else {}
    running = _running(shape[0]) if layer.running_stats else {}
    return Effect(shape, scaled | running, 2 * prod(shape))


@effect.register
def _(layer: of.LayerNorm, shape: Shape) -> Effect:
    axes = layer.axes or len(shape)
    if axes > len(shape):
        raise MisfitError(f"found {list(shape)}, wanted at least {axes} axes")
    scaled = _scaled(*shape[-axes:], bias=layer.bias) if layer.affine else {}
    return Effect(shape, scaled, 2 * prod(shape))


@effect.register
def _(layer: of.GroupNorm, shape: Shape) -> Effect:
    if shape[0] % layer.groups:
        raise MisfitError(f"found {shape[0]} channels, wanted a multiple of {layer.groups} groups")
    if prod(shape) == layer.groups:
        raise MisfitError(f"found {list(shape)}, wanted more than one value in a group")
    return Effect(shape, _scaled(shape[0]) if layer.affine else {}, 2 * prod(shape))


@effect.register
def _(layer: act.PReLU, shape: Shape) -> Effect:
    slopes = shape[0] if layer.per_channel else 1
    return Effect(shape, {"weight": (slopes,)}, prod(shape))


@effect.register
def _(layer: of.Affine, shape: Shape) -> Effect:
    for numbers in (layer.scale, layer.shift):
        if len(numbers) not in (1, shape[0]):
            raise MisfitError(
                f"{len(numbers)} numbers, wanted 1 or one for each of {shape[0]} channels"
            )
    return Effect(shape, {}, prod(shape))


@effect.register
def _(layer: act.Clamp, shape: Shape) -> Effect:
    if not layer.low < layer.high:
        raise MisfitError(f"low {layer.low} must be below high {layer.high}")
    return Effect(shape, {}, 0)


@effect.register
def _(layer: of.Reshape, shape: Shape) -> Effect:
    wanted, total = list(layer.shape), prod(shape)
    if wanted.count(-1) > 1 or 0 in wanted:
        raise MisfitError(f"shape {wanted} has sides of 0, or more than one of -1")
    if -1 in wanted and total % -prod(wanted) == 0:
        wanted[wanted.index(-1)] = total // -prod(wanted)
    if prod(wanted) != total:
        raise MisfitError(f"found {list(shape)}, {total} numbers, wanted {wanted}")
    return Effect(tuple(wanted), {})


@effect.register(act.Plain)
@effect.register(act.LeakyReLU)
@effect.register(act.Elu)
@effect.register(act.Gelu)
@effect.register(act.Softplus)
@effect.register(of.PixelNorm)
@effect.register(of.Dropout)
def _(layer: of.AnyLayer, shape: Shape) -> Effect:
    if layer.type == "flatten":
        return Effect((prod(shape),), {})
    return Effect(shape, {}, prod(shape))
