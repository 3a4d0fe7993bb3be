"""Archives that want to do harm are refused, by verify and by unpack, and nothing is left."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from app.datasets.members import DamagedError
from app.datasets.unpack import unpack
from app.datasets.verify import verify
from tests.made_datasets import BAG, QUOTAS, Make, resummed


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
    path.write_bytes(make.zipped(resummed(files)))
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
