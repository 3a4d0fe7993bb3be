"""DiffAugment (Zhao et al. 2020): changes of images that a gradient goes through.

The discriminator sees nothing else, of real and generated images alike, so it cannot learn few
images by heart; the generator learns through the change, so it is not tempted to make changed
images itself. Each image is changed by itself, at random; labels stay what they are. Images are
float [N, C, H, W] that span (-1, 1); what comes in from outside is 0, as in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

SHIFT = 1 / 8
"""Of height and width, by which an image is moved at most."""
HOLE = 1 / 2
"""Of height and width that is cut out."""


def augment(images: Tensor, transforms: Sequence[str]) -> Tensor:
    """Images after each of `transforms` in the paper's order; the same shape and type."""
    for name, transform in TRANSFORMS.items():
        if name in transforms:
            images = transform(images)
    return images


def colour(images: Tensor) -> Tensor:
    """Brightness by up to 0.5 either way, saturation times 0 to 2, contrast times 0.5 to 1.5."""
    images = images + (_uniform(images) - 0.5)
    if images.shape[1] > 1:
        grey = images.mean(dim=1, keepdim=True)  # [N, 1, H, W]
        images = (images - grey) * (2 * _uniform(images)) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)  # [N, 1, 1, 1]
    return (images - mean) * (_uniform(images) + 0.5) + mean


def translation(images: Tensor) -> Tensor:
    """Moved by up to an eighth of each side, to whole pixels."""
    count, _, height, width = images.shape
    rows, inside_rows = _moved(count, height, images.device)
    columns, inside_columns = _moved(count, width, images.device)
    index = torch.arange(count, device=images.device)[:, None, None]  # [N, 1, 1]
    taken = images.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]
    inside = inside_rows[:, :, None] & inside_columns[:, None, :]  # [N, H, W]
    return (taken * inside[..., None]).permute(0, 3, 1, 2)  # [N, C, H, W]


def cutout(images: Tensor) -> Tensor:
    """A box of half of each side set to 0, its centre anywhere in the image."""
    count, _, height, width = images.shape
    rows = _in_box(count, height, images.device)  # [N, H]
    columns = _in_box(count, width, images.device)  # [N, W]
    hole = rows[:, :, None] & columns[:, None, :]  # [N, H, W]
    return images * ~hole[:, None]


TRANSFORMS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"colour": colour, "translation": translation, "cutout": cutout}
)


def _uniform(images: Tensor) -> Tensor:
    """One number in [0, 1) for each image: [N, 1, 1, 1]."""
    return torch.rand(len(images), 1, 1, 1, dtype=images.dtype, device=images.device)


def _moved(count: int, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each cell of the result, where it comes from, int64 [N, side], and if that exists."""
    most = int(side * SHIFT + 0.5)
    offset = torch.randint(-most, most + 1, (count, 1), device=device)
    source = torch.arange(side, device=device) + offset
    return source.clamp(0, side - 1), (source >= 0) & (source < side)


def _in_box(count: int, side: int, device: torch.device) -> Tensor:
    """Whether each cell lies in a box about a random centre: bool [N, side]."""
    size = int(side * HOLE + 0.5)
    first = torch.randint(0, side + (1 - size % 2), (count, 1), device=device) - size // 2
    cells = torch.arange(side, device=device)
    return (cells >= first) & (cells < first + size)
