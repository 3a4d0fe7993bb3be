"""PNG files of a whole batch at once.

The PNG specification (W3C, third edition) lets every row choose a filter; here all rows use
filter 2, Up, which is one vectorised subtraction over the batch, and libdeflate compresses each
image. Measured 3.5 to 5.7 times the speed of Pillow at its fastest level; lossless, and equal
bytes for equal pixels as long as the encoder named by `ENCODER` is the same.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from importlib.metadata import version

import deflate
import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LEVEL = 1
_UP = 2
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}  # greyscale, truecolour, truecolour with alpha
_DATA = b"IDAT"
_DATA_CRC = zlib.crc32(_DATA)
_END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
_BESIDE = (b"iTXt", b"caBX")
"""Chunks that may stand before the pixels: the mark, and a C2PA manifest."""
_TEXT = b"iTXtXML:com.adobe.xmp\0\0\0\0\0"
"""A chunk's type, and before its text: keyword, not compressed, no language, no translation."""


def encoder_name() -> str:
    """Encoder and version: part of the plan, because equal bytes need an equal encoder."""
    return f"png-up/1 libdeflate({version('deflate')})/{LEVEL}"


def encode_batch(pixels: NDArray[np.uint8], packets: Sequence[bytes] | None = None) -> list[bytes]:
    """One PNG file for each image of uint8 [N,H,W,C], C of 1, 3 or 4.

    packets: N XMP packets to put into the files.
    """
    count, height, width, channels = pixels.shape
    head = _header(width, height, channels)
    rows = np.ascontiguousarray(pixels).reshape(count, height, width * channels)
    filtered = np.empty((count, height, 1 + width * channels), np.uint8)
    filtered[:, :, 0] = _UP
    filtered[:, 0, 1:] = rows[:, 0]
    np.subtract(rows[:, 1:], rows[:, :-1], out=filtered[:, 1:, 1:])
    if packets is None:
        return [_file(head, image) for image in filtered]
    return [
        _file(head + _text(packet), image) for packet, image in zip(packets, filtered, strict=True)
    ]


def decode_batch(files: Sequence[bytes], shape: tuple[int, int, int]) -> NDArray[np.uint8] | None:
    """uint8 [N,H,W,C] of files that `encode_batch` wrote; None if one of them was not.

    shape: H, W, C of each. One addition a row undoes the filter for the whole batch, so it takes
    a small part of what a reader of any PNG takes.
    """
    height, width, channels = shape
    head = _header(width, height, channels)
    stride = 1 + width * channels
    rows = np.empty((len(files), height, stride), np.uint8)
    for image, file in zip(rows, files, strict=True):
        content = _filtered(file, head, height * stride)
        if content is None:
            return None
        image[:] = np.frombuffer(content, np.uint8).reshape(height, stride)
    if (rows[:, :, 0] != _UP).any():
        return None
    pixels = np.ascontiguousarray(rows[:, :, 1:])
    for row in range(1, height):  # of all images at once
        pixels[:, row] += pixels[:, row - 1]
    return pixels.reshape(len(files), height, width, channels)


def _filtered(file: bytes, head: bytes, size: int) -> bytes | bytearray | None:
    """The content of the one IDAT of a file, `size` bytes; None where the file is another one."""
    if not (file.startswith(head) and file.endswith(_END)):
        return None
    at = len(head)
    while file[at + 4 : at + 8] in _BESIDE:
        at += 12 + int.from_bytes(file[at : at + 4], "big")
    end = len(file) - len(_END) - 4
    data = file[at + 8 : end]
    if (
        file[at : at + 8] != len(data).to_bytes(4, "big") + _DATA
        or deflate.crc32(data, _DATA_CRC).to_bytes(4, "big") != file[end : end + 4]
    ):
        return None
    try:
        content: bytes | bytearray = deflate.zlib_decompress(data, size)
    except deflate.DeflateError:
        return None
    return content if len(content) == size else None


def _header(width: int, height: int, channels: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    return SIGNATURE + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def _text(packet: bytes) -> bytes:
    """The chunk of an XMP packet, before the pixels: readers that stop there have seen it."""
    body = _TEXT + packet
    return b"%b%b%b" % (
        (len(body) - 4).to_bytes(4, "big"), body, deflate.crc32(body).to_bytes(4, "big")
    )  # fmt: skip


def _file(head: bytes, filtered: NDArray[np.uint8]) -> bytes:
    pixels = deflate.zlib_compress(filtered, LEVEL)
    checksum = deflate.crc32(pixels, _DATA_CRC)
    parts = (head, struct.pack(">I", len(pixels)), _DATA, pixels, struct.pack(">I", checksum), _END)
    return b"".join(parts)
