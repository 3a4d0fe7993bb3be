"""The reader agrees with the standard library on good archives, and survives all others."""

from __future__ import annotations

import io
import os
import random
import struct
import zipfile
from pathlib import Path

import pytest

from app.datasets.verify import verify
from app.datasets.zip_writer import ZipWriter
from models.corpus import zip_reader
from models.corpus.zip_end import BadZipError
from models.corpus.zip_reader import ZipReader
from tests.made_datasets import Make


def contents(path: Path) -> dict[str, bytes]:
    with ZipReader(path) as reader:
        return {entry.name: b"".join(reader.chunks(entry)) for entry in reader}


CONTENTS = {
    "empty": b"",
    "bag/00000000.png": os.urandom(700),
    "ünïcode 類.txt": b"text " * 1000,
    "large": bytes(1 << 20) + os.urandom(1 << 19),
}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("comment", [b"", b"a comment with PK\x05\x06 in it, and more after that"])
def test_what_the_standard_library_wrote(
    tmp_path: Path, method: int, wide: bool, comment: bytes
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.comment = comment
        for name, content in CONTENTS.items():
            with archive.open(name, "w", force_zip64=wide) as file:
                file.write(content)
    assert contents(path) == CONTENTS


def test_what_streams_wrote(tmp_path: Path) -> None:
    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError("a stream has no position")

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"sizes stand after the content" * 99)
    (tmp_path / "a.zip").write_bytes(stream.getvalue())
    assert contents(tmp_path / "a.zip") == {"a": b"sizes stand after the content" * 99}


@pytest.mark.parametrize("count", [0, 1, 65_534, 65_535, 65_536])
def test_any_number_of_entries_that_the_service_wrote(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.zip"
    with path.open("wb") as file:
        writer = ZipWriter(file)
        for index in range(count):
            writer.add(f"{index:08d}", b"")
        writer.close()
    with ZipReader(path) as reader:
        assert sum(1 for _ in reader) == count


@pytest.mark.parametrize("page_bytes", [47, 300, 1 << 20])
@pytest.mark.parametrize("name", ["{:08d}", "PK\x01\x02/{}", "a" * 99 + "/{}"])
def test_pages_have_the_entries_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page_bytes: int, name: str
) -> None:
    """Wherever the directory is cut, and where signatures of records stand in names."""
    monkeypatch.setattr(zip_reader, "_PAGE_BYTES", page_bytes)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"PK\x01\x02"
        for index in range(40):
            entry = zipfile.ZipInfo(name.format(index))
            entry.comment, entry.extra = b"c" * (index % 3), b"\x99\x99\x02\x00ab" * (index % 2)
            archive.writestr(entry, b"content")
    with ZipReader(path) as reader:
        entries, found = list(reader), []
        for page in reader.pages():
            names, lengths = page.names()
            for place, entry in enumerate(map(page.entry, range(len(page.starts)))):
                found.append(entry)
                assert names[place, : lengths[place]].tobytes() == entry.raw_name
    assert len(entries) == 40
    assert found == entries


def test_a_directory_that_ends_in_an_entry_is_refused(tmp_path: Path, make: Make) -> None:
    archive = make.zipped({"a": b"content", "b": b"content"})
    place = archive.rindex(b"PK\x01\x02") + 28
    (tmp_path / "a.zip").write_bytes(archive[:place] + b"\x02" + archive[place + 1 :])
    with ZipReader(tmp_path / "a.zip") as reader, pytest.raises(BadZipError, match="not a zip"):
        list(reader.pages())


def test_sizes_that_need_64_bits(tmp_path: Path, make: Make) -> None:
    archive = bytearray(make.zipped({"a": b"content"}))
    central = archive.index(b"PK\x01\x02")
    wide = struct.pack("<2H3Q", 1, 24, 7, 7, 0)
    head = archive[central : central + 46]
    head[20:28] = b"\xff" * 8
    head[30:32] = struct.pack("<H", len(wide))
    head[42:46] = b"\xff" * 4
    directory = bytes(head) + b"a" + wide
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), central, 0)
    (tmp_path / "a.zip").write_bytes(bytes(archive[:central]) + directory + end)
    assert contents(tmp_path / "a.zip") == {"a": b"content"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda archive: b"#!/bin/sh\n" + archive,
        lambda archive: archive + b"\0",
        lambda archive: archive[:-1],
        lambda archive: archive[4:],
        lambda archive: archive.replace(b"PK\x05\x06\0\0", b"PK\x05\x06\1\0"),
    ],
    ids=["before", "after", "cut", "beheaded", "of several disks"],
)
def test_only_the_archive_itself_is_read(tmp_path: Path, make: Make, spoil: object) -> None:
    (tmp_path / "a.zip").write_bytes(spoil(make.zipped({"a": b"content"})))  # type: ignore[operator]
    with pytest.raises(BadZipError, match="not a zip"):
        contents(tmp_path / "a.zip")


def test_an_entry_that_is_larger_than_declared(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", bytes(1 << 20))
    archive = bytearray(path.read_bytes())
    central = archive.index(b"PK\x01\x02")
    archive[central + 24 : central + 28] = struct.pack("<I", 10)
    path.write_bytes(archive)
    with ZipReader(path) as reader:
        (entry,) = reader
        pieces: list[bytes] = []
        with pytest.raises(BadZipError):
            pieces.extend(reader.chunks(entry))
        assert sum(map(len, pieces)) <= 10


def test_no_damage_goes_unnoticed_or_unhandled(tmp_path: Path, make: Make) -> None:
    archive = make.zipped(make.files({"bag": 2}))
    path = tmp_path / "a.zip"
    stream = random.Random(7)
    for position in range(len(archive)):
        damaged = bytearray(archive)
        damaged[position] ^= 1 << stream.randrange(8)
        path.write_bytes(damaged)
        if verify(path).ok:
            # Dates, versions and attributes may be anything; the files must be the same.
            assert contents(path) == make.files({"bag": 2})
