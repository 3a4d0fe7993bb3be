"""How the latents of a job differ from standard normals, and styles from what they map to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from app.errors import ValidationError
from models.spec import Frozen, ModelSpec
from models.truncation import LARGEST, Truncation

Latents = NDArray[np.float32]


class Sampling(Frozen):
    """Less variety for images that look more alike and more typical, or the other way round."""

    truncation: float | None = Field(
        default=None,
        gt=0,
        le=LARGEST,
        strict=True,
        description="entries of latents are drawn again as long as they lie further from 0 than "
        "this (Brock et al. 2019)",
    )
    psi: float | None = Field(
        default=None,
        ge=0,
        le=2,
        strict=True,
        description="styles are moved towards the mean one: 0 gives only that, 1 leaves them as "
        "they are (Karras et al. 2019); for models with a mapping network",
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        le=10,
        strict=True,
        description="what latents are multiplied by, after truncation",
    )


def sampling_of(asked: Sampling | None, specs: Sequence[ModelSpec]) -> Sampling | None:
    """What was asked, where it asks for anything. Raises a ValidationError of the tree."""
    if asked is None or asked == Sampling():
        return None
    without = [spec.ref for spec in specs if not spec.maps_latents]
    if asked.psi is not None and without:
        raise ValidationError(
            f"{', '.join(without)} has no mapping network, so it has no mean style that psi could "
            'move its images to. Give "truncation" or "temperature" instead, or take a model of '
            "the architecture stylegan2."
        )
    mapping = [spec.ref for spec in specs if spec.maps_latents]
    if asked.temperature != 1 and mapping:
        raise ValidationError(
            f"{', '.join(mapping)} brings its latents to one length before it uses them, so a "
            'temperature would change nothing. Give "psi" instead.'
        )
    return asked


def shaping(sampling: Sampling | None) -> Callable[[Latents], Latents]:
    """From standard normals to the latents of a job: float32 [n, size], of the same shape."""
    if sampling is None:
        return lambda z: z
    truncate = None if sampling.truncation is None else Truncation(sampling.truncation)
    factor = sampling.temperature

    def shaped(z: Latents) -> Latents:
        z = z if truncate is None else truncate(z)
        return z if factor == 1 else (z * np.float64(factor)).astype(np.float32)

    return shaped
