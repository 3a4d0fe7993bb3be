"""Text put together by numpy is what Python writes, string by string."""

from __future__ import annotations

import numpy as np

from app.datasets.lines import Choices, beside, decimals, hexadecimal

NUMBERS = [0, 7, 10, 99_999_999, 100_000_000, 12_345_678_901]
TEXTS = ["", "über/", "a very long folder/"]


def test_rows_are_those_of_python() -> None:
    which = [2, 0, 1, 1, 0, 2]
    hashes = [bytes([k]) * 32 for k in (0, 9, 10, 127, 128, 255)]
    columns = np.array(NUMBERS), np.array(which), np.array(hashes, "V32")
    made = beside(
        len(NUMBERS),
        hexadecimal(columns[2]),
        b"  ",
        Choices([text.encode() for text in TEXTS]).of(columns[1]),
        decimals(columns[0], 8),
        b" ",
        decimals(columns[0]),
        b"\n",
    )
    rows = [
        f"{digest.hex()}  {TEXTS[place]}{number:08d} {number}\n".encode()
        for digest, place, number in zip(hashes, which, NUMBERS, strict=True)
    ]
    assert made.joined() == b"".join(rows)
    assert made.lengths.tolist() == list(map(len, rows))
    width = max(map(len, rows))
    assert [row.tobytes() for row in made.content] == [row.ljust(width, b"\0") for row in rows]


def test_there_may_be_no_rows() -> None:
    none = np.zeros(0, np.int64)
    made = beside(0, decimals(none, 8), Choices([b"a"]).of(none), hexadecimal(none.view("V8")))
    assert made.joined() == b""
    assert made.lengths.tolist() == []
