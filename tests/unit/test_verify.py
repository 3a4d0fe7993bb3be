"""Whatever is wrong with a dataset is found and named; whatever is hostile does no harm."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from app.datasets.unpack import unpack
from app.datasets.verify import PROBLEMS_KEPT, Verification, verify
from tests.made_datasets import BAG, QUOTAS, Files, Make, described, resummed, spoilt


@pytest.fixture(params=["folder", "zip"])
def check(request: pytest.FixtureRequest, make: Make) -> Callable[[Files], Verification]:
    """Verifies the files, once as a folder and once as an archive."""
    build = make.folder if request.param == "folder" else make.zip
    return lambda files: verify(build(files))


def test_a_good_dataset(check: Callable[[Files], Verification], make: Make) -> None:
    found = check(make.files(QUOTAS))
    assert found.problems == []
    assert found.ok
    assert (found.files, found.images, found.seed, found.models) == (7, 5, 7, ["tiny@1"])
    assert found.asked == found.delivered == QUOTAS


@pytest.mark.parametrize("quotas", [{"bag": 0, "coat": 1}, {"ünïcode 類": 2}, {"a b": 1, "A-b": 1}])
def test_good_datasets_of_odd_kinds(
    check: Callable[[Files], Verification], make: Make, quotas: dict[str, int]
) -> None:
    found = check(make.files(quotas))
    assert found.problems == []
    assert found.delivered == quotas


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("tampered", f"{BAG} is not the file that SHA256SUMS lists."),
        ("missing", f"{BAG} is listed in SHA256SUMS but missing."),
        ("extra", "bag/extra.png is not listed in SHA256SUMS."),
        ("extra at the root", "evil.py is not listed in SHA256SUMS."),
        ("not an image", f"{BAG} is not a PNG image that can be decoded."),
        ("cut short", f"{BAG} is not a PNG image that can be decoded."),
        ("without its end", f"{BAG} does not end where a PNG image ends."),
        ("something after its end", f"{BAG} does not end where a PNG image ends."),
        ("jpeg in disguise", f"{BAG} is not a PNG image that can be decoded."),
        ("wrong size", f"{BAG} is 5 x 4 L, not 4 x 4 L."),
        ("wrong mode", f"{BAG} is 4 x 4 RGB, not 4 x 4 L."),
        ("too many bytes", f"{BAG} has 200,0"),
        ("wrong count", "Class bag has 3 images, not the 4 that dataset.json states."),
        ("unknown class", "hat/00000009.png is not a PNG file in one of the classes"),
        ("nested", "bag/deeper/00000009.png is not a PNG file in one of the classes"),
        ("no description", "dataset.json is missing."),
        ("no checksums", "SHA256SUMS is missing; nothing can be checked without it."),
    ],
)
def test_what_is_wrong_is_named(
    check: Callable[[Files], Verification], how: str, sentence: str
) -> None:
    found = check(spoilt(how))
    assert not found.ok
    assert any(problem.startswith(sentence) for problem in found.problems), found.problems


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": "other/1"}, "format"),
        ({"samples": 6}, "sum of samples_per_class"),
        ({"samples": "5"}, "samples"),
        ({"directories": {"bag": "x", "coat": "x"}}, "share a directory"),
        ({"directories": {"bag": "bag"}}, "has no directory"),
        ({"image": {"height": 10**6, "width": 4, "channels": 1}}, "image.height"),
        ({"seed": None}, "seed"),
    ],
)
def test_a_description_that_can_not_be(
    check: Callable[[Files], Verification], make: Make, changes: dict[str, object], sentence: str
) -> None:
    found = check(described(make.files(QUOTAS), **changes))
    assert len(found.problems) == 1
    assert found.problems[0].startswith("dataset.json is not valid")
    assert sentence in found.problems[0]


@pytest.mark.parametrize(
    "line",
    [b"abc  bag/1.png", b"0" * 64 + b"  ../../x", b"0" * 64 + b"  /x", b"0" * 64 + b" *x", b"\xff"],
)
def test_checksum_lines_that_are_none(
    check: Callable[[Files], Verification], make: Make, line: bytes
) -> None:
    files = make.files(QUOTAS)
    found = check(files | {"SHA256SUMS": files["SHA256SUMS"] + line + b"\n"})
    assert found.problems == ["Line 7 of SHA256SUMS is not a hash and a file name."]


def test_checksum_lines_that_repeat_or_never_end(
    check: Callable[[Files], Verification], make: Make
) -> None:
    files = make.files(QUOTAS)
    first = files["SHA256SUMS"].splitlines(keepends=True)[0]
    again = check(files | {"SHA256SUMS": files["SHA256SUMS"] + first})
    assert again.problems == ["Line 7 of SHA256SUMS lists a file a second time."]
    endless = check(files | {"SHA256SUMS": files["SHA256SUMS"] + b"0" * 10**6})
    assert "has a line that is too long" in endless.problems[0]


def test_a_png_that_claims_to_be_huge(check: Callable[[Files], Verification], make: Make) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    huge = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )
    found = check(resummed(make.files(QUOTAS) | {BAG: huge}))
    assert found.problems == [f"{BAG} is not a PNG image that can be decoded."]


def test_the_list_of_problems_is_bounded_and_the_count_is_not(
    check: Callable[[Files], Verification], make: Make
) -> None:
    files = make.files(QUOTAS) | {f"bag/{index}.png": b"" for index in range(250)}
    found = check(files)
    assert found.problem_count == 250
    assert len(found.problems) == PROBLEMS_KEPT


def test_progress_counts_every_file(make: Make) -> None:
    steps: list[int] = []
    verify(make.zip(make.files(QUOTAS)), steps.append)
    assert steps == [1, 2, 3, 4, 5, 6, 7]


# Folders


@pytest.mark.parametrize("target", ["/etc/hostname", "00000001.png", "nowhere"])
def test_links_in_a_folder_are_reported_not_followed(make: Make, target: str) -> None:
    folder = make.folder(make.files(QUOTAS))
    (folder / BAG).unlink()
    (folder / BAG).symlink_to(target)
    assert verify(folder).problems[0] == f"{BAG} is a link or a special file."


def test_a_linked_class_folder_and_a_pipe(make: Make) -> None:
    folder = make.folder(make.files(QUOTAS))
    (folder / "hat").symlink_to("bag", target_is_directory=True)
    os.mkfifo(folder / "pipe")
    assert sorted(verify(folder).problems) == [
        "hat is a link or a special file.",
        "pipe is a link or a special file.",
    ]


def test_names_that_would_break_a_terminal_are_shown_harmless(make: Make) -> None:
    folder = make.folder(make.files(QUOTAS) | {"bag/\x1b[31mred\n": b""})
    (problem,) = verify(folder).problems
    assert problem.isprintable()


# Memory


def test_memory_does_not_grow_with_the_bytes(make: Make, tmp_path: Path) -> None:
    large = {"notes.bin": bytes(30 << 20)}
    path = tmp_path / "a.zip"
    path.write_bytes(make.zipped(resummed(make.files(QUOTAS) | large)))
    tracemalloc.start()
    try:
        assert verify(path).ok
        unpack(path, tmp_path / "out")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_memory_does_not_grow_with_the_number_of_files(make: Make, tmp_path: Path) -> None:
    peaks = []
    for count in (3000, 6000):
        path = tmp_path / f"{count}.zip"
        path.write_bytes(make.zipped(make.files({"bag": count})))
        tracemalloc.start()
        try:
            assert verify(path).images == count
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000
