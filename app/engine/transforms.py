"""Transforms of drawn images, by torchvision's v2 functions but noise and blur: uint8 in and out.

Each image has parameters of its own (`app.jobs.transforms`), so each is changed by itself, on the
CPU and in the thread that encodes it: what comes out does not depend on how images were batched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from app.jobs.plan import Plan
from app.jobs.transforms import (
    NOISE_PURPOSE,
    VARIANT_PURPOSES,
    Parameters,
    Transform,
    draws_of,
    parameters_of,
)
from models.latents import normals
from models.spec import ImageShape

BILINEAR: Final = InterpolationMode.BILINEAR
Apply = Callable[[Tensor, Mapping[str, Any]], Tensor]
"""An image uint8 [C, H, W] and the parameters of one transform to an image of the same shape."""


class Stream(NamedTuple):
    """Whose random numbers one image gets."""

    seed: int
    model: str
    """SHA-256."""
    shard: int
    candidate: int
    variant: int = 0


@dataclass(frozen=True)
class Changer:
    """Does the transforms of a plan to images of one of its shards."""

    plan: Plan
    shard: int

    def change(
        self,
        model: int,
        candidates: NDArray[np.int64],
        copies: NDArray[np.int64],
        images: NDArray[np.uint8],
    ) -> NDArray[np.uint8]:
        """The variants of each image, image by image: uint8 [sum of copies, H, W, C].

        candidates: [n] of a model, by its place in the plan, ascending. copies: [n] how many
        variants of each. images: uint8 [n, H, W, C].
        """
        if not len(candidates):
            return images
        ends = np.cumsum(copies)
        changed = np.empty((ends[-1], *images.shape[1:]), np.uint8)
        for variant in range(int(copies.max())):
            have = np.flatnonzero(copies > variant)
            places = ends[have] - copies[have] + variant
            changed[places] = self._variants(model, variant, candidates[have], images[have])
        return changed

    def _variants(
        self, model: int, variant: int, candidates: NDArray[np.int64], images: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """One of each image: uint8 [n, H, W, C]."""
        plan, sha256 = self.plan, self.plan.models[model].sha256
        first = int(candidates[0])
        draws = draws_of(
            len(plan.transforms),
            seed=plan.seed,
            model=sha256,
            shard=self.shard,
            first=first,
            count=int(candidates[-1]) - first + 1,
            variant=variant,
        )
        changed = np.empty_like(images)
        for place, candidate in enumerate(candidates.tolist()):
            own = [
                {"type": each.type, **each.parameters(numbers.tolist(), plan.image)}
                for each, numbers in zip(plan.transforms, draws[:, candidate - first], strict=True)
            ]
            stream = Stream(plan.seed, sha256, self.shard, candidate, variant)
            changed[place] = transformed(images[place], own, stream)
        return changed


def change_again(
    transforms: Sequence[Transform], streams: Sequence[Stream], images: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """What a shard made of images uint8 [n, H, W, C], each known by its stream alone."""
    changed = np.empty_like(images)
    height, width, channels = images.shape[1:]
    shape = ImageShape.model_validate({"height": height, "width": width, "channels": channels})
    for place, stream in enumerate(streams):
        own = parameters_of(transforms, shape, **stream._asdict())
        changed[place] = transformed(images[place], own, stream)
    return changed


def transformed(
    pixels: NDArray[np.uint8], parameters: Sequence[Parameters], stream: Stream
) -> NDArray[np.uint8]:
    """An image uint8 [H, W, C] after each transform; its stream is that of its noise."""
    image = torch.from_numpy(pixels.transpose(2, 0, 1).copy())  # [C, H, W]
    for place, own in enumerate(parameters):
        if own["type"] == "noise":
            image = _noisy(image, own, stream, place)
        else:
            image = APPLY[str(own["type"])](image, own)
    changed: NDArray[np.uint8] = image.numpy().transpose(1, 2, 0)
    return changed


def _noisy(image: Tensor, own: Mapping[str, Any], stream: Stream, place: int) -> Tensor:
    colours = _colours(image)
    values = normals(
        seed=stream.seed,
        model=stream.model,
        shard=stream.shard,
        first=stream.candidate,
        count=1,
        size=colours.numel(),
        purpose=NOISE_PURPOSE + VARIANT_PURPOSES * stream.variant + place,
    )
    noise = values.reshape(colours.shape) * (255.0 * own["sd"])  # [C, H, W]
    noisy = np.clip(np.rint(colours.numpy() + noise), 0, 255).astype(np.uint8)
    return _with_alpha(torch.from_numpy(noisy), image)


def _rotate(image: Tensor, own: Mapping[str, Any]) -> Tensor:
    changed: Tensor = functional.rotate(image, own["angle"], interpolation=BILINEAR)
    return changed


def _crop_resize(image: Tensor, own: Mapping[str, Any]) -> Tensor:
    changed: Tensor = functional.resized_crop(
        image,
        top=own["top"],
        left=own["left"],
        height=own["height"],
        width=own["width"],
        size=list(image.shape[1:]),
        interpolation=BILINEAR,
        antialias=True,
    )
    return changed


def _scale(image: Tensor, own: Mapping[str, Any]) -> Tensor:
    changed: Tensor = functional.affine(
        image, angle=0, translate=[0, 0], scale=own["factor"], shear=[0, 0], interpolation=BILINEAR
    )
    return changed


def _translate(image: Tensor, own: Mapping[str, Any]) -> Tensor:
    changed: Tensor = functional.affine(
        image, angle=0, translate=[own["right"], own["down"]], scale=1.0, shear=[0, 0]
    )
    return changed


def _flip(image: Tensor, own: Mapping[str, Any]) -> Tensor:
    if not own["flipped"]:
        return image
    flip = functional.hflip if own["axis"] == "horizontal" else functional.vflip
    changed: Tensor = flip(image)
    return changed


def _colour_jitter(image: Tensor, own: Mapping[str, Any]) -> Tensor:
    colours = functional.adjust_brightness(_colours(image), own["brightness"])
    colours = functional.adjust_contrast(colours, own["contrast"])
    if colours.shape[0] == 3:
        colours = functional.adjust_saturation(colours, own["saturation"])
        colours = functional.adjust_hue(colours, own["hue"])
    return _with_alpha(colours, image)


def _blur(image: Tensor, own: Mapping[str, Any]) -> Tensor:
    """As torchvision's, but for rounding. Its convolution waits for all threads of the process at
    every image, which took minutes where other processes wanted them; these sums take one."""
    reach = own["kernel"] // 2
    pixels = image.numpy().astype(np.float64)  # [C, H, W]
    height, width = pixels.shape[1:]
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / own["sigma"]) ** 2)  # [kernel]
    weights /= weights.sum()
    padded = np.pad(pixels, ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
    rows = sum(w * padded[:, k : k + height] for k, w in enumerate(weights))
    whole = np.asarray(sum(w * rows[:, :, k : k + width] for k, w in enumerate(weights)))
    return torch.from_numpy(np.rint(whole).astype(np.uint8))


APPLY: Final[Mapping[str, Apply]] = MappingProxyType(
    {
        "rotate": _rotate,
        "crop_resize": _crop_resize,
        "scale": _scale,
        "translate": _translate,
        "flip": _flip,
        "colour_jitter": _colour_jitter,
        "blur": _blur,
    }
)
"""But noise, which needs random numbers of its own."""


def _colours(image: Tensor) -> Tensor:
    """[1 or 3, H, W]: without alpha."""
    return image[:3]


def _with_alpha(colours: Tensor, image: Tensor) -> Tensor:
    return torch.cat([colours, image[3:]]) if image.shape[0] == 4 else colours
