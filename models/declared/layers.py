"""The layers that a description may name, as data: one class a type. Imports no torch.

Names and defaults are those of `torch.nn`. Sizes of what comes in are inferred and may be stated
as a check. A plain string stands for a layer without options: "relu" is {"type": "relu"}.
Shapes are those of one image: [features], [channels, height, width] or [channels, length].
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Union, get_args

from pydantic import BeforeValidator, Field, PlainSerializer, StrictBool, StrictFloat, StrictInt

from models.declared import limits
from models.declared.activations import (
    Clamp,
    Elu,
    Gelu,
    LeakyReLU,
    Plain,
    PReLU,
    Real,
    Softplus,
)
from models.spec import Frozen


def _twice(value: Any) -> Any:
    return (value, value) if type(value) is int else value


def _once(pair: tuple[int, int]) -> int | list[int]:
    return pair[0] if pair[0] == pair[1] else list(pair)


Size = Annotated[StrictInt, Field(ge=1, le=limits.SIZE)]
Features = Annotated[StrictInt, Field(ge=1, le=limits.FEATURES)]
_Side = Annotated[StrictInt, Field(ge=1, le=limits.KERNEL)]
_Margin = Annotated[StrictInt, Field(ge=0, le=limits.KERNEL)]
Pair = Annotated[tuple[_Side, _Side], BeforeValidator(_twice), PlainSerializer(_once)]
Margins = Annotated[tuple[_Margin, _Margin], BeforeValidator(_twice), PlainSerializer(_once)]
Sides = Annotated[
    tuple[Annotated[StrictInt, Field(ge=1, le=limits.SIDE)], ...],
    Field(min_length=2, max_length=2),
]
Eps = Annotated[StrictFloat, Field(gt=0, le=10)]


class Linear(Frozen):
    """[in] -> [out]; applied to the last axis of anything longer."""

    type: Literal["linear"]
    out: Features
    size_in: Features | None = Field(None, alias="in")
    bias: StrictBool = True


class Conv(Frozen):
    """2-d convolution, padded with zeros: [in, H, W] -> [out, H', W']."""

    type: Literal["conv"]
    out: Size
    size_in: Size | None = Field(None, alias="in")
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Margins = (0, 0)
    dilation: Pair = (1, 1)
    groups: Size = 1
    bias: StrictBool = True


class ConvTranspose(Conv):
    """2-d transposed convolution: [in, H, W] -> [out, H', W']."""

    type: Literal["conv_transpose"]  # type: ignore[assignment]
    output_padding: Margins = (0, 0)


class Upsample(Frozen):
    """[C, H, W] -> [C, H * scale, W * scale], or to `size`, [height, width]."""

    type: Literal["upsample"]
    scale: Pair | None = None
    size: Sides | None = None
    mode: Literal["nearest", "bilinear", "bicubic"] = "nearest"
    align_corners: StrictBool = False


class Pad(Frozen):
    """[C, H, W] widened by `sides`: left, right, top, bottom; or the same number everywhere."""

    type: Literal["pad"]
    sides: Annotated[
        tuple[_Margin, _Margin, _Margin, _Margin],
        BeforeValidator(lambda v: (v,) * 4 if type(v) is int else v),
    ]
    mode: Literal["zeros", "reflect", "replicate"] = "zeros"


class Crop(Frozen):
    """[C, H, W] -> its `size`, [height, width], from the centre, or from the first pixel on."""

    type: Literal["crop"]
    size: Sides
    anchor: Literal["centre", "first"] = "centre"


class PixelShuffle(Frozen):
    """[C * factor**2, H, W] -> [C, H * factor, W * factor] (Shi et al. 2016)."""

    type: Literal["pixel_shuffle"]
    factor: Annotated[StrictInt, Field(ge=1, le=limits.KERNEL)]


class BatchNorm(Frozen):
    """By the running statistics of the file, over axis 0 of the sample."""

    type: Literal["batch_norm"]
    eps: Eps = 1e-5
    affine: StrictBool = True


class InstanceNorm(Frozen):
    """Each channel of each image by its own statistics, or by running ones of the file."""

    type: Literal["instance_norm"]
    eps: Eps = 1e-5
    affine: StrictBool = False
    running_stats: StrictBool = False


class LayerNorm(Frozen):
    """Over the last `axes` axes; all of them when it is not stated."""

    type: Literal["layer_norm"]
    axes: Annotated[StrictInt, Field(ge=1, le=3)] | None = None
    eps: Eps = 1e-5
    affine: StrictBool = True
    bias: StrictBool = True


class GroupNorm(Frozen):
    """Groups of neighbouring channels together."""

    type: Literal["group_norm"]
    groups: Size
    eps: Eps = 1e-5
    affine: StrictBool = True


class PixelNorm(Frozen):
    """x / sqrt(mean of x**2 over the channels + eps) (Karras et al. 2018, sec. 4.2)."""

    type: Literal["pixel_norm"]
    eps: Eps = 1e-8


class Affine(Frozen):
    """x * scale + shift: one number each, or one a channel. Such as (tanh + 1) / 2."""

    type: Literal["affine"]
    scale: Annotated[tuple[Real, ...], BeforeValidator(lambda v: _listed(v))] = (1.0,)
    shift: Annotated[tuple[Real, ...], BeforeValidator(lambda v: _listed(v))] = (0.0,)


def _listed(value: Any) -> Any:
    return (value,) if type(value) in (int, float) else value


class Reshape(Frozen):
    """To `shape`, without the batch; one side may be -1."""

    type: Literal["reshape"]
    shape: Annotated[
        tuple[Annotated[StrictInt, Field(ge=-1, le=1 << 32)], ...],
        Field(min_length=1, max_length=3),
    ]


class Dropout(Frozen):
    """Inactive, as it is in every network that is not being trained; it only keeps its place."""

    type: Literal["dropout"]
    p: Annotated[StrictFloat, Field(ge=0, le=1)] = 0.5


class Residual(Frozen):
    """layers(x) + shortcut(x); a shortcut without layers is x itself."""

    type: Literal["residual"]
    layers: Layers
    shortcut: Layers = ()


class Parallel(Frozen):
    """Several ways from the same x, merged along the channels or value by value."""

    type: Literal["parallel"]
    branches: Annotated[tuple[Layers, ...], Field(min_length=1, max_length=64)]
    merge: Literal["concat", "add", "multiply"] = "concat"


def _worded(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


AnyLayer = Union[  # noqa: UP007 - get_args is to see it as the union of typing
    Linear, Conv, ConvTranspose, Upsample, PixelShuffle, Pad, Crop, BatchNorm, InstanceNorm,
    LayerNorm, GroupNorm, PixelNorm, Plain, LeakyReLU, PReLU, Elu, Gelu, Softplus, Clamp, Affine,
    Reshape, Dropout, Residual, Parallel,
]  # fmt: skip
Layer = Annotated[AnyLayer, Field(discriminator="type")]
Layers = Annotated[
    tuple[Annotated[Layer, BeforeValidator(_worded)], ...], Field(max_length=limits.LAYERS)
]

Residual.model_rebuild()
Parallel.model_rebuild()

LAYER_TYPES: Final = frozenset(
    word for kind in get_args(AnyLayer) for word in get_args(kind.model_fields["type"].annotation)
)
"""Every word that `type` of a layer may be."""
