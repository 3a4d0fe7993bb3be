"""What may happen to images after they are drawn: what a request asks, what each sample gets. Pure.

What a sample gets follows from the job's seed, its model, shard, candidate and the place of the
transform in the list, and from nothing else; so it is not stored, but worked out again where it is
shown or needed. `app.engine.transforms` does it to pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from app.errors import ValidationError
from models.latents import uniforms
from models.spec import ImageShape

MOST = 16
"""Transforms of one job."""
MOST_VARIANTS = 100
"""Of one drawn image."""
PURPOSE = 256
"""Of the random numbers of the first transform; the next one has the next number."""
DRAWS = 4
"""Random numbers of one transform of one sample."""
NOISE_PURPOSE = PURPOSE + (1 << 16)
"""Of the noise of the first transform; its strength is drawn elsewhere."""
VARIANT_PURPOSES = 1 << 20
"""From the streams of a variant of a drawn image to those of the next one."""
Draws = Sequence[float]
Parameters = dict[str, float | int | str]

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Angle = Annotated[Number, Field(ge=-360, le=360)]
Factor = Annotated[Number, Field(gt=0, le=10)]
Share = Annotated[Number, Field(ge=0, le=1)]


class Chosen(BaseModel):
    """A transform. Where two numbers are a range, each sample gets one of it, evenly drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    channels: ClassVar[tuple[int, ...]] = (1, 3, 4)

    def parameters(self, draws: Draws, image: ImageShape) -> Parameters:
        """What one sample gets. draws: `DRAWS` numbers in [0, 1)."""
        raise NotImplementedError


class Rotate(Chosen):
    """About the middle, bilinear; what comes in from outside is black."""

    type: Literal["rotate"]
    degrees: Angle | tuple[Angle, Angle] = Field(
        description="d: between -d and d; [low, high]; counter-clockwise"
    )

    def parameters(self, draws: Draws, image: ImageShape) -> Parameters:
        return {"angle": _between(_about(self.degrees, 0.0), draws[0])}


class CropResize(Chosen):
    """A part of the image, stretched to its size: antialiased bilinear."""

    type: Literal["crop_resize"]
    scale: tuple[Share, Share] = Field(default=(0.8, 1.0), description="of the area that is kept")
    ratio: tuple[Factor, Factor] = Field(default=(0.75, 4 / 3), description="width to height")

    def parameters(self, draws: Draws, image: ImageShape) -> Parameters:
        area = _between(self.scale, draws[0]) * image.height * image.width
        low, high = np.log(self.ratio[0]), np.log(self.ratio[1])
        ratio = float(np.exp(low + (high - low) * draws[1]))
        height = min(image.height, max(1, round(float((area / ratio) ** 0.5))))
        width = min(image.width, max(1, round(float((area * ratio) ** 0.5))))
        top = int(draws[2] * (image.height - height + 1))
        left = int(draws[3] * (image.width - width + 1))
        return {"top": top, "left": left, "height": height, "width": width}


class Scale(Chosen):
    """About the middle, bilinear; what comes in from outside is black."""

    type: Literal["scale"]
    factor: tuple[Factor, Factor] = Field(default=(0.9, 1.1), description="above 1 is larger")

    def parameters(self, draws: Draws, image: ImageShape) -> Parameters:
        return {"factor": _between(self.factor, draws[0])}


class Translate(Chosen):
    """By whole pixels; what comes in from outside is black."""

    type: Literal["translate"]
    fraction: Share = Field(default=0.1, description="of width and height, at most, either way")

    def parameters(self, draws: Draws, image: ImageShape) -> Parameters:
        most = (self.fraction * image.width, self.fraction * image.height)
        right, down = (round(m * (2 * d - 1)) for m, d in zip(most, draws, strict=False))
        return {"right": right, "down": down}


class Flip(Chosen):
    """Left and right, or top and bottom, change places."""

    type: Literal["flip"]
    axis: Literal["horizontal", "vertical"] = "horizontal"
    probability: Share = 0.5

    def parameters(self, draws: Draws, image: ImageShape) -> Parameters:
        return {"flipped": int(draws[0] < self.probability), "axis": self.axis}


class ColourJitter(Chosen):
    """Brightness, contrast, saturation and hue, in this order. Alpha stays what it is."""

    type: Literal["colour_jitter"]
    brightness: Share = Field(default=0.0, description="b: times 1 - b to 1 + b")
    contrast: Share = Field(default=0.0, description="the same")
    saturation: Share = Field(default=0.0, description="the same; images in colour only")
    hue: Annotated[Number, Field(ge=0, le=0.5)] = Field(
        default=0.0, description="h: turned by -h to h of the circle; images in colour only"
    )

    def parameters(self, draws: Draws, image: ImageShape) -> Parameters:
        names = ("brightness", "contrast", "saturation")
        found: Parameters = {
            name: _between(_about(getattr(self, name), 1.0), draw)
            for name, draw in zip(names, draws, strict=False)
        }
        return {**found, "hue": _between(_about(self.hue, 0.0), draws[3])}


class Noise(Chosen):
    """Normal noise on each value of each channel but alpha, clipped."""

    type: Literal["noise"]
    sd: tuple[Share, Share] = Field(
        default=(0.0, 0.05), description="standard deviation, 1 is from black to white"
    )

    def parameters(self, draws: Draws, image: ImageShape) -> Parameters:
        return {"sd": _between(self.sd, draws[0])}


class Blur(Chosen):
    """Gaussian; the image is mirrored at its edges."""

    type: Literal["blur"]
    sigma: tuple[Annotated[Number, Field(gt=0, le=20)], Annotated[Number, Field(gt=0, le=20)]] = (
        Field(default=(0.1, 1.0), description="in pixels")
    )

    def parameters(self, draws: Draws, image: ImageShape) -> Parameters:
        sigma = _between(self.sigma, draws[0])
        side = min(image.height, image.width)
        # An odd kernel of three sigma each way, as far as the image can be mirrored.
        reach = max(0, min(ceil(3 * sigma), side - 1))
        return {"sigma": sigma, "kernel": 2 * reach + 1}


Transform = Annotated[
    Rotate | CropResize | Scale | Translate | Flip | ColourJitter | Noise | Blur,
    Field(discriminator="type"),
]


_READ: TypeAdapter[tuple[Transform, ...]] = TypeAdapter(tuple[Transform, ...])


def transforms_of(document: Sequence[Mapping[str, Any]] | None) -> tuple[Transform, ...]:
    """What a plan kept."""
    return _READ.validate_python(document, strict=False) if document else ()


def refuse_unfit(transforms: Sequence[Transform], image: ImageShape) -> None:
    """Raises ValidationError for a transform that images of this size or these channels can't have,
    and for a range whose ends are the wrong way round."""
    for transform in transforms:
        for name, value in transform:
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValidationError(
                    f'"{name}" of "{transform.type}" is [low, high]: {value[0]:g} is above '
                    f"{value[1]:g}."
                )
        jitter = transform if isinstance(transform, ColourJitter) else None
        if jitter and image.channels == 1 and (jitter.saturation or jitter.hue):
            raise ValidationError(
                "The models draw grey images, which have neither saturation nor hue: leave both "
                'out of "colour_jitter".'
            )


def refuse_equal(variants: int, transforms: Sequence[Transform], image: ImageShape) -> None:
    """Raises ValidationError where all variants of a drawn image would be equal."""
    if variants > 1 and not transforms:
        raise ValidationError(
            'Transforms are what makes variants of a drawn image: give "transforms" too, or leave '
            '"variants" out.'
        )
    if variants > 1 and not any(_varies(transform, image) for transform in transforms):
        raise ValidationError(
            "No transform has anything to choose from, so all variants of an image would be equal: "
            'give one of them a range, or leave "variants" out.'
        )


def _varies(transform: Transform, image: ImageShape) -> bool:
    if isinstance(transform, Noise):
        return transform.sd[1] > 0
    lowest, highest = [0.0] * DRAWS, [1 - 2**-53] * DRAWS
    return transform.parameters(lowest, image) != transform.parameters(highest, image)


def parameters_of(
    transforms: Sequence[Transform],
    image: ImageShape,
    *,
    seed: int,
    model: str,
    shard: int,
    candidate: int,
    variant: int = 0,
) -> list[Parameters]:
    """What one sample gets of each transform, each with its `type`."""
    draws = draws_of(
        len(transforms),
        seed=seed, model=model, shard=shard, first=candidate, count=1, variant=variant,
    )  # fmt: skip
    return [
        {"type": transform.type, **transform.parameters(own[0].tolist(), image)}
        for transform, own in zip(transforms, draws, strict=True)
    ]


def draws_of(
    places: int, *, seed: int, model: str, shard: int, first: int, count: int, variant: int = 0
) -> NDArray[np.float64]:
    """[places, count, DRAWS] in [0, 1): of a batch of candidates, for each transform."""
    purpose = PURPOSE + VARIANT_PURPOSES * variant
    return np.stack(
        [
            uniforms(
                seed=seed, model=model, shard=shard, first=first, count=count, size=DRAWS,
                purpose=purpose + place,
            )
            for place in range(places)
        ]
    )  # fmt: skip


def _about(value: float | tuple[float, float], middle: float) -> tuple[float, float]:
    if isinstance(value, tuple):
        return value
    return middle - value, middle + value


def _between(ends: tuple[float, float], draw: float) -> float:
    return float(ends[0] + (ends[1] - ends[0]) * draw)
