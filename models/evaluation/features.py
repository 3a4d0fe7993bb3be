"""Feature extractors: what every one of them does, and the plainest of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from models.evaluation.findings import Backbone
from models.evaluation.space import SIDE, name_of, reduced
from models.generator import PIXEL_MAX, from_pixels
from models.spec import ImageShape

Pixels = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]

BATCH: Final = 256
BATCH_BYTES: Final = 64 << 20
"""Of the pixels of a batch that is averaged down: of large images it has fewer."""


class FeatureExtractor(Protocol):
    """Images in, one vector each out."""

    @property
    def backbone(self) -> Backbone:
        """Name, digest of everything that decides the features, and length of a vector."""

    def features(self, images: Pixels) -> Features:
        """uint8 [N, H, W, C] -> float32 [N, D], the same whatever images come together."""


class PixelFeatures:
    """The pixels themselves, (0, 1), averaged down to at most `side` a side."""

    def __init__(self, image: ImageShape, side: int = SIDE) -> None:
        self.shape = reduced(image, side)
        self.batch = max(1, min(BATCH, BATCH_BYTES // image.bytes))
        height, width = self.shape.height, self.shape.width
        self.backbone = Backbone(
            name=name_of(self.shape),
            sha256=hashlib.sha256(f"pixels {height} {width}".encode()).hexdigest(),
            size=self.shape.bytes,
            note="averaged down" if self.shape != image else "",
        )

    def features(self, images: Pixels) -> Features:
        return in_batches(images, lambda batch: resized(batch, self.shape).flatten(1), self.batch)

    def levels(self, images: Pixels) -> Pixels:
        """The same as uint8 [N, D], 0 ... 255: a quarter of the memory."""
        if images.shape[1:3] == (self.shape.height, self.shape.width):
            return images.reshape(len(images), -1)
        parts = [
            np.rint(self.features(images[start : start + self.batch]) * PIXEL_MAX).astype(np.uint8)
            for start in range(0, len(images), self.batch)
        ]
        return np.concatenate(parts)


def resized(images: Tensor, shape: ImageShape) -> Tensor:
    """float [N, C, H, W] at the size of `shape`: bilinear, with averaging when it shrinks."""
    size = (shape.height, shape.width)
    if images.shape[2:] == size:
        return images
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)


@torch.inference_mode()
def in_batches(images: Pixels, network: Callable[[Tensor], Tensor], size: int = BATCH) -> Features:
    """`network` (float [N, C, H, W] in (0, 1) -> [N, D]) over all images, in even batches.

    The last batch is filled up: kernels round by the size of their batch.
    """
    parts = []
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        padded = np.concatenate([batch, np.repeat(batch[:1], size - len(batch), axis=0)])
        parts.append(network(from_pixels(padded, (0.0, 1.0)))[: len(batch)].cpu().numpy())
    found: Features = np.concatenate(parts).astype(np.float32)
    return found
