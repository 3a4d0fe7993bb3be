"""Image files of every encoding, read back by two decoders that are not ours.

`make fuzz` runs the same for many more images.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.datasets.decoding import decode
from app.datasets.encoders import encoder_names, encoder_of
from app.datasets.members import DamagedError
from app.jobs.encoding import Encoding, Jpeg, Png, Webp
from tests.builders import image
from tests.image_readers import READERS, Pixels, batches, smooth, with_pillow

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")

LOSSLESS = [Png(), Webp()]
LOSSY = [Webp(quality=80), Jpeg(), Jpeg(quality=100)]
ALL = LOSSLESS + LOSSY
LEAST_DECIBELS = {95: 25.0, 100: 40.0}
"""Of a JPEG file against the image. Noise of 2 x 2 pixels is the worst: 27.5 and 42.7 at the least
of some hundred thousand."""

EXAMPLES = settings(deadline=None, derandomize=settings.get_current_profile_name() != "fuzz")
"""The same hundred in every run of the suite; `make fuzz` draws new ones, and many."""


def encoded(encoding: Encoding, pixels: Pixels) -> list[bytes]:
    return encoder_of(encoding)(pixels)


def each(encodings: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("encoding", encodings, ids=repr)


def decibels(image: Pixels, other: Pixels) -> float:
    """Peak signal-to-noise ratio; infinite for equal images."""
    error = np.mean((image.astype(float) - other) ** 2)
    return float(np.inf) if not error else 10 * np.log10(255**2 / error)


@each(LOSSLESS)
@EXAMPLES
@given(pixels=batches())
def test_two_decoders_read_the_pixels_back(encoding: Encoding, pixels: Pixels) -> None:
    for original, payload in zip(pixels, encoded(encoding, pixels), strict=True):
        for read in READERS:
            found = read(payload)
            shared = min(found.shape[2], original.shape[2])
            assert np.array_equal(found[..., :shared], original[..., :shared])
            if found.shape[2] < original.shape[2]:
                assert (original[..., 3] == 255).all(), "only alpha that says nothing is left out"
            elif found.shape[2] > original.shape[2]:
                assert (found == original).all(), "grey as RGB"


@pytest.mark.parametrize("quality", LEAST_DECIBELS)
@EXAMPLES
@given(pixels=batches(channels=(1, 3)))
def test_two_decoders_read_a_jpeg_almost_back(quality: int, pixels: Pixels) -> None:
    for original, payload in zip(pixels, encoded(Jpeg(quality=quality), pixels), strict=True):
        for read in READERS:
            found = read(payload)
            assert found.shape == original.shape
            assert decibels(original, found) > LEAST_DECIBELS[quality]


@each(ALL)
@EXAMPLES
@given(pixels=batches(channels=(1, 3)))
def test_equal_pixels_give_equal_bytes_alone_or_in_a_batch(
    encoding: Encoding, pixels: Pixels
) -> None:
    together = encoded(encoding, pixels)
    assert encoded(encoding, pixels.copy()) == together
    assert [encoded(encoding, pixels[k : k + 1])[0] for k in range(len(pixels))] == together


@each(LOSSLESS)
@EXAMPLES
@given(pixels=batches())
def test_what_is_written_is_decoded_and_accepted(encoding: Encoding, pixels: Pixels) -> None:
    shape = image(*pixels.shape[1:])
    for original, payload in zip(pixels, encoded(encoding, pixels), strict=True):
        assert np.array_equal(decode(payload, encoding, shape), original)


@each(ALL)
@EXAMPLES
@given(
    size=st.tuples(st.integers(1, 80), st.integers(1, 80), st.sampled_from([1, 3, 4])),
    seed=st.integers(0, 2**32),
)
def test_noise_is_never_larger_than_the_room_that_is_asked_for(
    encoding: Encoding, size: tuple[int, int, int], seed: int
) -> None:
    if size[2] not in encoding.modes:
        return
    noise = np.random.default_rng(seed).integers(0, 256, (1, *size), np.uint8)
    assert len(encoded(encoding, noise)[0]) < encoding.most_bytes(image(*size))


@each(ALL)
def test_memory_that_is_not_contiguous_is_read_right(encoding: Encoding) -> None:
    wide = np.random.default_rng(1).integers(0, 256, (3, 20, 30, 3), np.uint8)
    for view in (wide[::2], wide[:, ::-1], wide[:, :, 5:17], wide.transpose(0, 2, 1, 3)):
        assert encoded(encoding, view) == encoded(encoding, np.ascontiguousarray(view))


@each(ALL)
@pytest.mark.parametrize("size", [(4096, 1), (1, 4096)])
def test_the_largest_side_of_a_model_fits(encoding: Encoding, size: tuple[int, int]) -> None:
    with pytest.raises(pydantic.ValidationError):
        image(*(side + 1 for side in size))
    pixels = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    assert with_pillow(encoded(encoding, pixels)[0]).shape == (*size, 3)


@each(ALL)
def test_an_empty_batch_has_no_files(encoding: Encoding) -> None:
    assert encoded(encoding, np.zeros((0, 4, 4, 1), np.uint8)) == []


@pytest.mark.parametrize("channels", [2, 5])
@each(ALL)
def test_channels_that_no_file_can_hold_are_refused(encoding: Encoding, channels: int) -> None:
    with pytest.raises((KeyError, ValueError)):
        encoded(encoding, np.zeros((1, 4, 4, channels), np.uint8))


def test_colours_keep_their_resolution_in_a_jpeg() -> None:
    stripes = np.zeros((1, 16, 16, 3), np.uint8)
    stripes[:, :, ::2] = (255, 0, 0)
    stripes[:, :, 1::2] = (0, 0, 255)
    assert decibels(stripes[0], with_pillow(encoded(Jpeg(), stripes)[0])) > 30


def test_more_quality_is_more_bytes_and_less_error() -> None:
    pixels = smooth(np.random.default_rng(2), (1, 64, 64, 3))
    files = [encoded(Jpeg(quality=quality), pixels)[0] for quality in (20, 50, 80, 95)]
    assert sorted(map(len, files)) == list(map(len, files))
    errors = [decibels(pixels[0], with_pillow(file)) for file in files]
    assert sorted(errors) == errors


@each(ALL)
def test_another_process_writes_the_same_bytes(encoding: Encoding) -> None:
    program = (
        "import numpy, json, sys; from app.datasets.encoders import encoder_of;"
        "from app.jobs.encoding import encoding_of;"
        "pixels = numpy.random.default_rng(3).integers(0, 256, (4, 28, 28, 1), numpy.uint8);"
        "encode = encoder_of(encoding_of(json.loads(sys.argv[1])));"
        "sys.stdout.buffer.write(b''.join(encode(pixels)))"
    )
    command = [sys.executable, "-c", program, encoding.model_dump_json()]
    elsewhere = subprocess.run(command, capture_output=True, check=True).stdout
    pixels = np.random.default_rng(3).integers(0, 256, (4, 28, 28, 1), np.uint8)
    assert elsewhere == b"".join(encoded(encoding, pixels))


def test_encoders_name_their_versions() -> None:
    names = encoder_names()
    assert names["png"].startswith("png-up/1 libdeflate(")
    assert "pillow(" in names["webp"]
    assert "libwebp(" in names["webp"]
    assert names["jpeg"].startswith("jpeg/1 simplejpeg(")


# What a file is not


@each(ALL)
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda payload: payload[:-3], "is not a|does not end"),
        (lambda payload: payload[: len(payload) // 2], "is not a|does not end"),
        (lambda payload: payload + b"<script>", "does not end"),
        (lambda payload: b"", "is not a"),
        (lambda payload: b"\0" + payload[1:], "is not a"),
    ],
)
def test_a_damaged_file_is_refused(encoding: Encoding, spoil: Any, sentence: str) -> None:
    pixels = smooth(np.random.default_rng(0), (1, 28, 28, 3))
    with pytest.raises(DamagedError, match=sentence):
        decode(spoil(encoded(encoding, pixels)[0]), encoding, image(channels=3))


@pytest.mark.parametrize("written", [Png(), Webp(), Jpeg()], ids=repr)
@pytest.mark.parametrize("expected", [Png(), Webp(), Jpeg()], ids=repr)
def test_a_file_of_another_format_is_refused(written: Encoding, expected: Encoding) -> None:
    pixels = smooth(np.random.default_rng(0), (1, 28, 28, 3))
    payload = encoded(written, pixels)[0]
    if written == expected:
        assert decode(payload, expected, image(channels=3)).shape == (28, 28, 3)
    else:
        with pytest.raises(DamagedError, match="can be decoded"):
            decode(payload, expected, image(channels=3))


@each(ALL)
def test_another_size_is_refused_before_it_is_decoded(encoding: Encoding) -> None:
    payload = encoded(encoding, np.zeros((1, 28, 28, 3), np.uint8))[0]
    with pytest.raises(DamagedError, match="is 28 x 28 RGB, not 27 x 28"):
        decode(payload, encoding, image(28, 27, 3))


def test_colour_in_a_webp_file_that_should_be_grey_is_refused() -> None:
    payload = encoded(Webp(), smooth(np.random.default_rng(0), (1, 28, 28, 3)))[0]
    with pytest.raises(DamagedError, match="not grey"):
        decode(payload, Webp(), image(channels=1))
