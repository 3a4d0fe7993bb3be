"""The contact sheet shows every image it was given, unchanged, beside its class name."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.datasets.contact_sheet import MOUNT, PAPER, Row, contact_sheet


def opened(png: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(png)) as sheet:
        assert sheet.format == "PNG"
        return np.asarray(sheet.convert("RGB"))


def count_of(sheet: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    return int((sheet == np.array(colour, np.uint8)).all(axis=2).sum())


def flat(colour: tuple[int, ...], side: int = 28) -> NDArray[np.uint8]:
    return np.full((side, side, len(colour)), colour, np.uint8)


def test_every_image_is_there_at_its_scale() -> None:
    red, green = (200, 10, 10), (10, 200, 10)
    rows: list[Row] = [("bag", [flat(red)] * 3), ("coat", [flat(green)] * 2)]
    sheet = opened(contact_sheet(rows, scale=3))
    assert count_of(sheet, red) == 3 * 84 * 84
    assert count_of(sheet, green) == 2 * 84 * 84
    assert count_of(sheet, MOUNT) == 84 * 84  # the coat that is missing


def test_pixels_are_not_smoothed() -> None:
    checker = (np.indices((8, 8)).sum(axis=0) % 2 * 255).astype(np.uint8)[:, :, None]
    sheet = opened(contact_sheet([("x", [checker])], scale=4))
    rows, columns = np.nonzero((sheet == 0).all(axis=2))
    found = sheet[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1, 0]
    assert (found == np.kron(checker[:, :, 0], np.ones((4, 4), np.uint8))).all()


def test_grey_colour_and_transparent_images_share_a_sheet() -> None:
    seen = opened(
        contact_sheet([("a", [flat((7,)), flat((1, 2, 3)), flat((9, 9, 9, 0))])], scale=1)
    )
    assert count_of(seen, (7, 7, 7)) == count_of(seen, (1, 2, 3)) == 28 * 28
    assert count_of(seen, (9, 9, 9)) == 0


def test_images_of_different_sizes_are_centred() -> None:
    sheet = opened(contact_sheet([("a", [flat((1, 1, 1), 40), flat((2, 2, 2), 20)])], scale=1))
    rows, _ = np.nonzero((sheet == 1).all(axis=2))
    small, _ = np.nonzero((sheet == 2).all(axis=2))
    assert small.min() - rows.min() == rows.max() - small.max() == 10


def test_names_are_drawn_and_long_ones_shortened() -> None:
    short = opened(contact_sheet([("a", [flat((1,))])]))
    long = opened(contact_sheet([("a class with a name " * 40, [flat((1,))])]))
    assert short.shape[1] < long.shape[1] < short.shape[1] + 240
    assert count_of(short, PAPER) < short.shape[0] * short.shape[1] - 56 * 56


@pytest.mark.parametrize("name", ["", "\x00", "two\nlines", "emoji \U0001f392", "../x", "‮x"])
def test_hostile_names_do_not_break_the_sheet(name: str) -> None:
    plain = opened(contact_sheet([("a", [flat((1,))])]))
    assert opened(contact_sheet([(name, [flat((1,))])])).shape[0] == plain.shape[0]


def test_a_class_without_images_keeps_its_row() -> None:
    one = opened(contact_sheet([("a", [flat((1,))])]))
    two = opened(contact_sheet([("a", [flat((1,))]), ("b", [])]))
    assert two.shape[0] == one.shape[0] + 56 + 8
    assert opened(contact_sheet([("a", [])])).size > 0


def test_same_input_same_bytes() -> None:
    rows: list[Row] = [("bag", [flat((5,)), flat((6,))])]
    assert contact_sheet(rows, title="t") == contact_sheet(rows, title="t")


@pytest.mark.parametrize(
    ("rows", "scale", "sentence"),
    [
        ([], 2, "at least one row"),
        ([("a", [flat((1,))])], 0, "scale"),
        ([("a", [np.zeros((4, 4), np.uint8)])], 2, "uint8"),
        ([("a", [np.zeros((4, 4, 2), np.uint8)])], 2, "uint8"),
        ([("a", [np.zeros((4, 4, 1), np.float32)])], 2, "float32"),
        ([("a", [flat((1,), 1000)] * 20)], 1, "too large"),
    ],
)
def test_what_cannot_be_drawn_is_refused(rows: list[Row], scale: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        contact_sheet(rows, scale=scale)
