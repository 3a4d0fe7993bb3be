"""PNG files, read back by two decoders that are not ours."""

from __future__ import annotations

import io
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torchvision.io import ImageReadMode, decode_png

from app.datasets.png import encode_batch, encoder_name

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def with_pillow(payload: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(payload), formats=("PNG",)) as picture:
        pixels = np.asarray(picture)
        assert picture.mode == MODES[1 if pixels.ndim == 2 else pixels.shape[2]]
    return pixels.reshape(*pixels.shape[:2], -1)


def with_torchvision(payload: bytes) -> NDArray[np.uint8]:
    file = torch.frombuffer(bytearray(payload), dtype=torch.uint8)
    decoded = decode_png(file, ImageReadMode.UNCHANGED)  # [C, H, W]
    return decoded.permute(1, 2, 0).numpy()


@st.composite
def batches(draw: st.DrawFn) -> NDArray[np.uint8]:
    """uint8 [N, H, W, C]: noise, one colour, or gradients that wrap around."""
    shape = draw(
        st.tuples(
            st.integers(1, 4), st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3, 4])
        )
    )
    kind = draw(st.sampled_from(["noise", "flat", "ramp"]))
    noise = np.random.default_rng(draw(st.integers(0, 2**32)))
    if kind == "noise":
        return noise.integers(0, 256, shape, np.uint8)
    if kind == "flat":
        return np.full(shape, noise.integers(0, 256), np.uint8)
    return (np.arange(np.prod(shape)) * 7 % 256).astype(np.uint8).reshape(shape)


@pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")
@settings(deadline=None, max_examples=100)
@given(batches())
def test_two_decoders_read_the_pixels_back(pixels: NDArray[np.uint8]) -> None:
    for image, payload in zip(pixels, encode_batch(pixels), strict=True):
        assert np.array_equal(with_pillow(payload), image)
        assert np.array_equal(with_torchvision(payload), image)


@settings(deadline=None, max_examples=50)
@given(batches())
def test_equal_pixels_give_equal_bytes_alone_or_in_a_batch(pixels: NDArray[np.uint8]) -> None:
    together = encode_batch(pixels)
    assert encode_batch(pixels.copy()) == together
    assert [encode_batch(pixels[k : k + 1])[0] for k in range(len(pixels))] == together


def test_memory_that_is_not_contiguous_is_read_right() -> None:
    wide = np.random.default_rng(1).integers(0, 256, (3, 20, 30, 3), np.uint8)
    for view in (wide[::2], wide[:, ::-1], wide[:, :, 5:17], wide.transpose(0, 2, 1, 3)):
        for image, payload in zip(view, encode_batch(view), strict=True):
            assert np.array_equal(with_pillow(payload), image)


def test_chunks_carry_right_checksums_and_nothing_else() -> None:
    payload = encode_batch(np.zeros((1, 5, 7, 3), np.uint8))[0]
    assert payload[:8] == b"\x89PNG\r\n\x1a\n"
    at, names = 8, []
    while at < len(payload):
        length = int.from_bytes(payload[at : at + 4], "big")
        chunk = payload[at + 4 : at + 8 + length]
        checksum = payload[at + 8 + length : at + 12 + length]
        assert int.from_bytes(checksum, "big") == zlib.crc32(chunk)
        names.append(chunk[:4])
        at += 12 + length
    assert names == [b"IHDR", b"IDAT", b"IEND"]


def test_an_empty_batch_has_no_files() -> None:
    assert encode_batch(np.zeros((0, 4, 4, 1), np.uint8)) == []


def test_an_image_that_no_png_can_hold_is_refused() -> None:
    with pytest.raises(KeyError):
        encode_batch(np.zeros((1, 4, 4, 2), np.uint8))


def test_another_process_writes_the_same_bytes() -> None:
    program = (
        "import numpy, hashlib; from app.datasets.png import encode_batch;"
        "pixels = numpy.random.default_rng(3).integers(0, 256, (4, 28, 28, 1), numpy.uint8);"
        "print(hashlib.sha256(b''.join(encode_batch(pixels))).hexdigest())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, check=True, text=True
        ).stdout
        for _ in range(2)
    }
    assert len(runs) == 1


def test_the_encoder_names_its_version() -> None:
    assert encoder_name().startswith("png-up/1 libdeflate(")
