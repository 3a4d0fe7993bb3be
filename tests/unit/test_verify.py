"""Whatever is wrong with a dataset is found and named; whatever is hostile does no harm."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.datasets.members import DamagedError
from app.datasets.unpack import unpack
from app.datasets.verify import PROBLEMS_KEPT, Verification, verify

if TYPE_CHECKING:
    from tests.unit.conftest import Make

QUOTAS = {"bag": 3, "coat": 2}
BAG = "bag/00000000.png"
Files = dict[str, bytes]


@pytest.fixture(params=["folder", "zip"])
def check(request: pytest.FixtureRequest, make: Make) -> Callable[[Files], Verification]:
    """Verifies the files, once as a folder and once as an archive."""
    build = make.folder if request.param == "folder" else make.zip
    return lambda files: verify(build(files))


def resummed(make: Make, files: Files) -> Files:
    """The same files, with hashes that fit what they are now."""
    return files | {"SHA256SUMS": make.sums(files)}


def described(make: Make, files: Files, **changes: object) -> Files:
    """The same files with another dataset.json, which is listed as it is."""
    document = json.loads(files["dataset.json"]) | changes
    return resummed(make, files | {"dataset.json": json.dumps(document).encode()})


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


def spoilt(make: Make, how: str) -> Files:
    files = make.files(QUOTAS)
    match how:
        case "tampered":
            files[BAG] = make.png(99)
        case "missing":
            del files[BAG]
        case "extra":
            files["bag/extra.png"] = make.png(1)
        case "extra at the root":
            files["evil.py"] = b"import os"
        case "not an image":
            return resummed(make, files | {BAG: b"not a png"})
        case "cut short":
            return resummed(make, files | {BAG: files[BAG][:-20] + files[BAG][-12:]})
        case "without its end":
            return resummed(make, files | {BAG: files[BAG][:-12]})
        case "something after its end":
            return resummed(make, files | {BAG: files[BAG] + b"<script>"})
        case "jpeg in disguise":
            return resummed(make, files | {BAG: b"\xff\xd8\xff\xe0" + bytes(60)})
        case "wrong size":
            return resummed(make, files | {BAG: make.png(1, (5, 4))})
        case "wrong mode":
            return resummed(make, files | {BAG: make.png(1, (4, 4), "RGB")})
        case "too many bytes":
            return resummed(make, files | {BAG: files[BAG] + bytes(200_000)})
        case "wrong count":
            return described(make, files, samples=6, samples_per_class={"bag": 4, "coat": 2})
        case "unknown class":
            return resummed(make, files | {"hat/00000009.png": make.png(1)})
        case "nested":
            return resummed(make, files | {"bag/deeper/00000009.png": make.png(1)})
        case "no description":
            del files["dataset.json"]
            return resummed(make, files)
        case "no checksums":
            del files["SHA256SUMS"]
    return files


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
    check: Callable[[Files], Verification], make: Make, how: str, sentence: str
) -> None:
    found = check(spoilt(make, how))
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
    found = check(described(make, make.files(QUOTAS), **changes))
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


# Archives


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def with_entry(make: Make, path: Path, info: zipfile.ZipInfo, content: bytes) -> Path:
    path.write_bytes(make.zipped(make.files(QUOTAS)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, content)
    return path


HOSTILE_NAMES = ["../x", "/x", "a/../../x", "..\\x", "C:x", "bag//x", "./x", "a" * 300, "x\x1b[2J"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_that_leave_the_folder(make: Make, tmp_path: Path, name: str) -> None:
    path = with_entry(make, tmp_path / "a.zip", entry(name), b"owned")
    found = verify(path)
    assert found.problem_count == 1
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DamagedError):
        unpack(path, tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_with_nul_is_not_what_comes_before_it(make: Make, tmp_path: Path) -> None:
    hidden = entry("bag/x")
    hidden.filename = "bag/x\0.exe"
    path = with_entry(make, tmp_path / "a.zip", hidden, b"owned")
    assert verify(path).problems == [
        "bag/x?.exe has characters in its name that are not safe on every system."
    ]
    with pytest.raises(DamagedError):
        unpack(path, tmp_path / "out")


def test_a_link_in_an_archive(make: Make, tmp_path: Path) -> None:
    link = entry("bag/link", stat.S_IFLNK | 0o777)
    path = with_entry(make, tmp_path / "a.zip", link, b"/etc/passwd")
    assert verify(path).problems == ["bag/link is a link or a special file."]
    with pytest.raises(DamagedError, match="link"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_there_twice(make: Make, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        path = with_entry(make, tmp_path / "a.zip", entry(BAG), make.png(200))
    found = verify(path)
    assert found.problems[0] == f"{BAG} is there more than once."
    with pytest.raises(DamagedError, match="more than once"):
        unpack(path, tmp_path / "out")


def test_a_file_below_a_file(make: Make, tmp_path: Path) -> None:
    files = make.files(QUOTAS) | {f"{BAG}/below": b"x"}
    path = tmp_path / "a.zip"
    path.write_bytes(make.zipped(resummed(make, files)))
    with pytest.raises(DamagedError, match="below the name of another file"):
        unpack(path, tmp_path / "out")


def test_an_encrypted_entry(make: Make, tmp_path: Path) -> None:
    archive = bytearray(make.zipped(make.files(QUOTAS)))
    central = archive.index(b"PK\x01\x02")
    archive[central + 8] |= 1
    (tmp_path / "a.zip").write_bytes(archive)
    assert f"{BAG} is encrypted." in verify(tmp_path / "a.zip").problems


def test_a_directory_that_differs_from_the_entries(make: Make, tmp_path: Path) -> None:
    archive = bytearray(make.zipped(make.files(QUOTAS)))
    local = archive.index(BAG.encode())
    archive[local : local + 3] = b"gab"
    (tmp_path / "a.zip").write_bytes(archive)
    assert any(BAG in problem for problem in verify(tmp_path / "a.zip").problems)


def test_bytes_that_rotted(make: Make, tmp_path: Path) -> None:
    archive = bytearray(make.zipped(make.files(QUOTAS)))
    archive[archive.index(b"IDAT") + 6] ^= 1
    (tmp_path / "a.zip").write_bytes(archive)
    (problem,) = verify(tmp_path / "a.zip").problems
    assert problem == f"{BAG} is damaged (its zip entry does not fit its checksum)."
    with pytest.raises(DamagedError, match=BAG):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip at all", bytes(4096)])
def test_what_is_no_zip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    assert verify(tmp_path / "a.zip").problems == ["a.zip is not a zip that can be read."]


def test_a_zip_cut_anywhere(make: Make, tmp_path: Path) -> None:
    archive = make.zipped(make.files({"bag": 1}))
    for length in range(0, len(archive), 7):
        (tmp_path / "a.zip").write_bytes(archive[:length])
        assert not verify(tmp_path / "a.zip").ok


def test_a_bomb_is_refused_by_its_declared_size(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("bag/00000000.png", "w") as file,
    ):
        for _ in range(100):
            file.write(bytes(1 << 20))
    (problem,) = verify(path).problems
    assert "would unpack to 104,857,600 bytes" in problem
    with pytest.raises(DamagedError):
        unpack(path, tmp_path / "out")


def test_overlapping_entries_are_refused(make: Make, tmp_path: Path) -> None:
    big = os.urandom(20_000)
    archive = bytearray(make.zipped({"a": big, "b": big}))
    first = archive.index(b"PK\x01\x02")
    second = archive.index(b"PK\x01\x02", first + 4)
    archive[second + 20 : second + 24] = struct.pack("<I", 40_000)
    (tmp_path / "a.zip").write_bytes(archive)
    assert verify(tmp_path / "a.zip").problems == ["a.zip has entries that overlap each other."]


def test_a_png_that_claims_to_be_huge(check: Callable[[Files], Verification], make: Make) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    huge = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )
    found = check(resummed(make, make.files(QUOTAS) | {BAG: huge}))
    assert found.problems == [f"{BAG} is not a PNG image that can be decoded."]


def test_memory_does_not_grow_with_the_bytes(make: Make, tmp_path: Path) -> None:
    large = {"notes.bin": bytes(30 << 20)}
    path = tmp_path / "a.zip"
    path.write_bytes(make.zipped(resummed(make, make.files(QUOTAS) | large)))
    tracemalloc.start()
    try:
        assert verify(path).ok
        unpack(path, tmp_path / "out")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


# Unpacking


def test_unpacking_gives_the_same_dataset(make: Make, tmp_path: Path) -> None:
    files = make.files(QUOTAS)
    assert unpack(make.zip(files), tmp_path / "below" / "out") == len(files)
    out = tmp_path / "below" / "out"
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.*")}
    assert found | {"SHA256SUMS": (out / "SHA256SUMS").read_bytes()} == files
    assert verify(out).ok
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("how", ["tampered", "missing", "extra", "no checksums"])
def test_unpacking_a_bad_archive_leaves_nothing(make: Make, tmp_path: Path, how: str) -> None:
    path = make.zip(spoilt(make, how))
    with pytest.raises(DamagedError, match=r"SHA256SUMS|is missing"):
        unpack(path, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == [path]


def test_unpacking_over_something_leaves_it(make: Make, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(OSError, match="out"):
        unpack(make.zip(make.files(QUOTAS)), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


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


def test_zip_bytes_in_memory_are_what_the_tests_think(make: Make) -> None:
    with zipfile.ZipFile(io.BytesIO(make.zipped(make.files(QUOTAS)))) as archive:
        assert archive.testzip() is None
