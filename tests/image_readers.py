"""Readers of image files that are not ours, and batches of images to write for them."""

from __future__ import annotations

import io

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torchvision.io import ImageReadMode, decode_image, decode_webp

Pixels = NDArray[np.uint8]


def with_pillow(payload: bytes) -> Pixels:
    """uint8 [H, W, C]."""
    with Image.open(io.BytesIO(payload), formats=("PNG", "WEBP", "JPEG")) as picture:
        pixels = np.asarray(picture)
    return pixels.reshape(*pixels.shape[:2], -1)


def with_torchvision(payload: bytes) -> Pixels:
    """uint8 [H, W, C]."""
    file = torch.frombuffer(bytearray(payload), dtype=torch.uint8)
    if payload[:4] == b"RIFF":
        decoded = decode_webp(file, ImageReadMode.UNCHANGED)
    else:
        decoded = decode_image(file, ImageReadMode.UNCHANGED)  # [C, H, W]
    return decoded.permute(1, 2, 0).numpy()


READERS = (with_pillow, with_torchvision)


@st.composite
def batches(draw: st.DrawFn, channels: tuple[int, ...] = (1, 3, 4)) -> Pixels:
    """uint8 [N, H, W, C]: noise, one colour, gradients that wrap around, or smooth blobs."""
    shape = draw(
        st.tuples(
            st.integers(1, 4), st.integers(1, 70), st.integers(1, 70), st.sampled_from(channels)
        )
    )
    kind = draw(st.sampled_from(["noise", "flat", "ramp", "smooth"]))
    noise = np.random.default_rng(draw(st.integers(0, 2**32)))
    if kind == "noise":
        return noise.integers(0, 256, shape, np.uint8)
    if kind == "flat":
        return np.full(shape, noise.integers(0, 256), np.uint8)
    if kind == "ramp":
        return (np.arange(np.prod(shape)) * 7 % 256).astype(np.uint8).reshape(shape)
    return smooth(noise, shape)


def smooth(noise: np.random.Generator, shape: tuple[int, ...]) -> Pixels:
    """uint8 [N, H, W, C]: shapes with a little noise, neither blank nor incompressible."""
    count, height, width, channels = shape
    small = noise.integers(0, 256, (count, -(-height // 4), -(-width // 4), channels))
    large = small.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]
    return (large + noise.normal(0, 2, shape)).clip(0, 255).astype(np.uint8)
