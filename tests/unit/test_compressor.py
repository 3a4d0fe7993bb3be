"""One compressor for many images: the bytes of `deflate`, which makes one for each."""

from __future__ import annotations

import zlib

import deflate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.datasets import compressor
from app.datasets.compressor import compress_all

contents = st.lists(st.binary(max_size=3_000), max_size=8)


@settings(deadline=None, max_examples=50)
@given(contents, st.sampled_from([1, 6, 12]))
def test_the_bytes_are_those_of_one_after_the_other(images: list[bytes], level: int) -> None:
    made = compress_all(images, level)
    assert made == [bytes(deflate.zlib_compress(image, level)) for image in images]
    assert [zlib.decompress(file) for file in made] == images


def test_this_build_of_the_package_shows_its_functions() -> None:
    assert compressor._functions() is not None


def test_a_build_that_hides_them_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [bytes([k]) * 500 + bytes(range(256)) for k in range(3)]
    made = compress_all(images, 1)
    monkeypatch.setattr(compressor, "_functions", lambda: None)
    assert compress_all(images, 1) == made
