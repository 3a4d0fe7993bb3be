"""The contract of every generator, and the only place where floats become pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.errors import InputError, OutputShapeError
from models.spec import ImageShape

PIXEL_MAX = 255


class Generator(nn.Module, ABC):
    """Latents and labels in, images out.

    A subclass implements `forward` and states its family and the range its last layer spans,
    unless only the spec can know them.

    image: size of every image.
    latent_size: length of one latent vector, drawn from a standard normal.
    class_count: number of labels it takes; 0 when it takes none.
    """

    family: Literal["gan", "vae"]
    value_range: tuple[float, float]
    maps_latents: ClassVar[bool] = False
    """Whether `forward` takes a psi, which moves styles towards their mean."""

    def __init__(self, image: ImageShape, latent_size: int, class_count: int) -> None:
        super().__init__()
        self.image = image
        self.latent_size = latent_size
        self.class_count = class_count

    @abstractmethod
    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """float [N, latent_size], int64 [N] or None -> float [N, C, H, W] in `value_range`."""

    @property
    def device(self) -> torch.device:
        """Where the weights are; inputs are moved there."""
        return next(self.parameters()).device

    @property
    def derived(self) -> frozenset[str]:
        """Names of tensors that a file may lack: `derive` makes them of the others."""
        return frozenset()

    def derive(self, missing: Collection[str]) -> None:
        """Fill in those of `derived` that the file lacked; the others are loaded."""

    @property
    def resident_bytes(self) -> int:
        """Memory that the weights take while the generator is loaded."""
        tensors = (*self.parameters(), *self.buffers())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class Pixels(NamedTuple):
    """What one batch of inference gave.

    pixels: uint8 [N, H, W, C], zeros where the image was not finite.
    finite: bool [N], False where any value of the image was NaN or infinite.
    seconds: of the device, where whoever ran the batch took the time.
    """

    pixels: npt.NDArray[np.uint8]
    finite: npt.NDArray[np.bool_]
    seconds: float = 0.0


class Levels(NamedTuple):
    """`Pixels` where they were made: uint8 [N, H, W, C] and bool [N] on the device."""

    pixels: Tensor
    finite: Tensor


def to_pixels(images: Tensor, value_range: tuple[float, float]) -> Pixels:
    """`to_levels`, copied to the host; nothing but uint8 and one flag an image is copied."""
    made = to_levels(images, value_range)
    return Pixels(made.pixels.cpu().numpy(), made.finite.cpu().numpy())


def to_levels(images: Tensor, value_range: tuple[float, float]) -> Levels:
    """float [N, C, H, W] spanning `value_range` -> uint8 [N, H, W, C], on the images' device.

    `low` becomes 0 and `high` 255, linearly, computed in float32; values outside are clamped;
    a value exactly half way between two levels goes to the even one (IEEE 754 default, as
    `torch.round` does). An image with a NaN or an infinity is zero-filled and flagged: it
    never becomes pixels.
    """
    if images.ndim != 4:
        raise OutputShapeError(f"images must be [N, C, H, W], not {list(images.shape)}")
    low, high = value_range
    values = images.detach().to(torch.float32)
    finite = values.abs().amax((1, 2, 3)).isfinite()  # [N]; NaN is the largest of all
    levels = values.sub(low).mul_(PIXEL_MAX / (high - low)).round_().clamp_(0, PIXEL_MAX)
    # By way of int32, to which torch converts with vector instructions.
    pixels = levels.to(torch.int32).to(torch.uint8).permute(0, 2, 3, 1).contiguous()  # [N, H, W, C]
    # A multiplication of bytes, whatever became of a NaN in them: a choice takes 40 times as long.
    return Levels(pixels.mul_(finite[:, None, None, None]), finite)


def from_pixels(pixels: npt.NDArray[np.uint8] | Tensor, value_range: tuple[float, float]) -> Tensor:
    """uint8 [N, H, W, C] -> float32 [N, C, H, W] spanning `value_range`; `to_pixels` inverts it."""
    levels = pixels if isinstance(pixels, Tensor) else as_tensor(pixels)
    if levels.ndim != 4 or levels.dtype != torch.uint8:
        raise InputError(
            f"pixels must be uint8 [N, H, W, C], not {levels.dtype} {list(levels.shape)}"
        )
    low, high = value_range
    values = levels.permute(0, 3, 1, 2).to(torch.float32)  # [N, C, H, W]
    return values * ((high - low) / PIXEL_MAX) + low


def sample(
    generator: Generator,
    z: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64] | None,
) -> Pixels:
    """float32 [N, latent_size] and int64 [N] (None when unconditional) -> pixels."""
    check_inputs(generator, z, labels)
    device = generator.device
    on_device = None if labels is None else as_tensor(labels).to(device)
    made = draw(generator, as_tensor(z).to(device), on_device)
    return Pixels(made.pixels.cpu().numpy(), made.finite.cpu().numpy())


@torch.inference_mode()
def draw(
    generator: Generator, z: Tensor, labels: Tensor | None, psi: float | None = None
) -> Levels:
    """float32 [N, latent_size] and int64 [N] on the generator's device -> images there.

    psi: of a generator that maps its latents, in place of what its spec says; see `StyleGan2`.
    Runs in eval mode whatever mode the generator was in: batch statistics and dropout would make
    an image depend on its neighbours.
    """
    generator.eval()
    images = generator(z, labels) if psi is None else generator(z, labels, psi)
    _check_outputs(generator, images, len(z))
    return to_levels(images, generator.value_range)


def as_tensor(array: npt.NDArray[Any]) -> Tensor:
    """The array's memory as a tensor; copied where torch, which wants it writable, could not."""
    return torch.from_numpy(np.require(array, requirements=("C", "W")))


def check_inputs(
    generator: Generator,
    z: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64] | None,
    psi: float | None = None,
) -> None:
    """Refuse what the generator could only misread; nothing has been computed yet."""
    if psi is not None and not generator.maps_latents:
        raise InputError("this generator has no mean style, so it takes no psi")
    if z.ndim != 2 or z.shape[1] != generator.latent_size or z.dtype != np.float32:
        raise InputError(
            f"latents must be float32 [N, {generator.latent_size}], not {z.dtype} {list(z.shape)}"
        )
    if (labels is None) != (generator.class_count == 0):
        wanted = "one label an image" if generator.class_count else "no labels"
        raise InputError(f"this generator takes {wanted}")
    if labels is not None:
        _check_labels(labels, len(z), generator.class_count)


def _check_labels(labels: npt.NDArray[np.int64], count: int, class_count: int) -> None:
    if labels.shape != (count,) or labels.dtype != np.int64:
        raise InputError(f"labels must be int64 [{count}], not {labels.dtype} {list(labels.shape)}")
    if count and not (labels.min() >= 0 and labels.max() < class_count):
        raise InputError(f"labels must lie in 0..{class_count - 1}")


def _check_outputs(generator: Generator, images: Tensor, count: int) -> None:
    image = generator.image
    wanted = (count, image.channels, image.height, image.width)
    if tuple(images.shape) != wanted:
        raise OutputShapeError(
            f"the generator gave {list(images.shape)} where {list(wanted)} was asked for"
        )
