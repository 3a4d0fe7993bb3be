"""PNG files, byte by byte; `test_image_files.py` reads them back."""

from __future__ import annotations

import io
import zlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.datasets.marks import packets
from app.datasets.png import decode_batch, encode_batch
from tests.image_readers import Pixels, batches, with_pillow


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


@settings(deadline=None, max_examples=60)
@given(batches(), st.booleans())
def test_batches_are_decoded_as_by_a_reader_of_any_png(pixels: Pixels, marked: bool) -> None:
    files = encode_batch(pixels, packets("ab" * 16, range(len(pixels))) if marked else None)
    found = decode_batch(files, pixels.shape[1:])
    assert found is not None
    assert np.array_equal(found, np.stack(list(map(with_pillow, files))))
    assert np.array_equal(found, pixels)


def test_what_we_did_not_write_is_left_to_another_reader() -> None:
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    [file] = encode_batch(pixels[None])
    damaged = bytearray(file)
    damaged[60] ^= 1
    for other in (out.getvalue(), bytes(damaged), file[:-1], file[:40], b""):
        assert decode_batch([file, other], (5, 7, 3)) is None
    assert decode_batch([file], (5, 7, 1)) is None
