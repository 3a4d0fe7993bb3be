"""PNG files, byte by byte; `test_image_files.py` reads them back."""

from __future__ import annotations

import zlib

import numpy as np

from app.datasets.png import encode_batch


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
