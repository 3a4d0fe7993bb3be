"""Archives of our writer, read by `zipfile`, `unzip` and arithmetic."""

from __future__ import annotations

import io
import shutil
import subprocess
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.datasets.zip_writer import ZipWriter

MIB = 1 << 20
ZEROS = bytes(64 * MIB)

members = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30),
        st.binary(max_size=300),
    ),
    max_size=20,
    unique_by=lambda member: member[0].rstrip("/\\"),
)


def archive(files: list[tuple[str, bytes]]) -> bytes:
    sink = io.BytesIO()
    writer = ZipWriter(sink)
    for name, payload in files:
        writer.add(name, payload)
    writer.close()
    return sink.getvalue()


@settings(deadline=None, max_examples=100)
@given(members)
def test_zipfile_reads_what_was_added(files: list[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(io.BytesIO(archive(files))) as found:
        assert found.testzip() is None
        assert [(entry.orig_filename, found.read(entry)) for entry in found.infolist()] == files
        for entry in found.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.external_attr >> 16 == 0o100644


@settings(deadline=None, max_examples=50)
@given(members)
def test_equal_members_equal_bytes(files: list[tuple[str, bytes]]) -> None:
    assert archive(files) == archive(files)


@settings(deadline=None, max_examples=50)
@given(members, members)
def test_added_together_they_make_the_same_archive(
    first: list[tuple[str, bytes]], second: list[tuple[str, bytes]]
) -> None:
    sink = io.BytesIO()
    writer = ZipWriter(sink)
    for files in (first, second):
        names, payloads = [name for name, _ in files], [payload for _, payload in files]
        for start, payload in zip(writer.add_all(names, payloads), payloads, strict=True):
            assert sink.getvalue()[start : start + len(payload)] == payload
    writer.close()
    assert sink.getvalue() == archive([*first, *second])


@settings(deadline=None, max_examples=50)
@given(st.lists(members, max_size=5))
def test_appended_archives_equal_their_members_added(shards: list[list[tuple[str, bytes]]]) -> None:
    sink = io.BytesIO()
    writer = ZipWriter(sink)
    for shard in shards:
        assert writer.add_archive(io.BytesIO(archive(shard))) == len(shard)
    writer.close()
    assert sink.getvalue() == archive([member for shard in shards for member in shard])
    assert writer.entries == sum(map(len, shards))


def test_a_payload_lies_where_add_says() -> None:
    sink = io.BytesIO()
    writer = ZipWriter(sink)
    places = [(writer.add(f"{k}.png", bytes([k]) * k), bytes([k]) * k) for k in range(20)]
    writer.close()
    for place, payload in places:
        assert sink.getvalue()[place : place + len(payload)] == payload


def test_a_file_is_added_like_its_bytes() -> None:
    payload = bytes(range(256)) * 10_000  # several chunks
    sink = io.BytesIO()
    writer = ZipWriter(sink)
    writer.add_file("sums", io.BytesIO(payload))
    writer.close()
    assert sink.getvalue() == archive([("sums", payload)])


@pytest.mark.parametrize("size", [7, 2**32 + 5])
def test_a_reserved_header_is_that_of_a_spooled_member(size: int) -> None:
    """Its payload is not written here: only where it would stand counts."""
    sink = io.BytesIO()
    writer = ZipWriter(sink)
    writer.add("before", b"1")
    place = writer.reserve("images.npy", large=size > 2**32)
    header = writer.header("images.npy", place, 0x01020304, size)
    assert len(header) == len(sink.getvalue()) - place
    writer.close()
    spooled = io.BytesIO()
    other = ZipWriter(spooled)
    other.add("before", b"1")
    other.add_spooled("images.npy", io.BytesIO(), 0x01020304, size)
    other.close()
    found = bytearray(sink.getvalue())
    found[place : place + len(header)] = header
    assert bytes(found) == spooled.getvalue()


def test_records_are_told_from_what_looks_like_one() -> None:
    """A signature in a name: the directory is read record by record then."""
    files = [("PK\x01\x02" * 20, b"a"), ("b", b"PK\x01\x02")]
    sink = io.BytesIO()
    writer = ZipWriter(sink)
    writer.add("first", b"1")
    writer.add_archive(io.BytesIO(archive(files)))
    writer.close()
    assert sink.getvalue() == archive([("first", b"1"), *files])


def without_end(content: bytes) -> bytes:
    return content[:-1]


def with_cut_payload(content: bytes) -> bytes:
    return content[100:]


def with_broken_directory(content: bytes) -> bytes:
    return content.replace(b"PK\x01\x02", b"PK\x01\x00")


@pytest.mark.parametrize(
    "damage", [without_end, with_cut_payload, with_broken_directory, lambda _: bytes(22)]
)
def test_what_this_class_did_not_write_is_not_appended(damage: Callable[[bytes], bytes]) -> None:
    whole = archive([(f"{k}.png", bytes(100)) for k in range(3)])
    writer = ZipWriter(io.BytesIO())
    with pytest.raises(ValueError, match=r"archive|directory"):
        writer.add_archive(io.BytesIO(damage(whole)))
    writer.discard()


def test_more_members_than_the_old_format_counts(tmp_path: Path) -> None:
    """Over 65,535 members: zip64 end records, made of appended shards like a job's archive."""
    shards, each = 7, 10_000
    path = tmp_path / "many.zip"
    with path.open("wb") as sink:
        writer = ZipWriter(sink)
        for shard in range(shards):
            files = [(f"bag/{shard * each + k:08d}.png", b"%d" % k) for k in range(each)]
            writer.add_archive(io.BytesIO(archive(files)))
        writer.close()
    with zipfile.ZipFile(path) as found:
        assert len(found.namelist()) == shards * each
        assert found.namelist()[-1] == "bag/00069999.png"
        assert found.testzip() is None
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-tqq", path], check=True, capture_output=True)


@pytest.mark.parametrize("count", [65_534, 65_535, 65_536])
def test_the_edge_of_the_old_format(count: int) -> None:
    with zipfile.ZipFile(io.BytesIO(archive([(str(k), b"") for k in range(count)]))) as found:
        assert len(found.namelist()) == count


class SparseSink:
    """A file in which zeros take no room."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, chunk: bytes) -> int:
        if chunk is ZEROS:
            self._file.seek(len(chunk), io.SEEK_CUR)
        else:
            self._file.write(chunk)
        return len(chunk)


def test_members_beyond_four_gibibytes(tmp_path: Path) -> None:
    path = tmp_path / "large.zip"
    tail = [(f"tail/{k}.png", b"%d" % k) for k in range(100)]
    with path.open("wb") as file:
        writer = ZipWriter(SparseSink(file))
        for k in range(65):
            writer.add(f"zeros/{k}", ZEROS)
        place = writer.add("beyond", b"here")
        writer.add_archive(io.BytesIO(archive(tail)))
        writer.close()
    assert place > 1 << 32
    with path.open("rb") as file:
        file.seek(place)
        assert file.read(4) == b"here"
    with zipfile.ZipFile(path) as found:
        assert len(found.namelist()) == 166
        assert found.read("beyond") == b"here"
        assert found.getinfo("beyond").extract_version == 45
        assert found.getinfo("zeros/0").extract_version == 20
        assert [(name, found.read(name)) for name, _ in tail] == tail
        with found.open("zeros/64") as member:
            assert member.read(MIB) == ZEROS[:MIB]
    assert path.stat().st_blocks * 512 < 16 * MIB


def test_memory_does_not_grow_with_the_members() -> None:
    class Nowhere:
        def write(self, chunk: bytes) -> int:
            return len(chunk)

    def peak(count: int) -> int:
        tracemalloc.start()
        writer = ZipWriter(Nowhere())
        for k in range(count):
            writer.add(f"a-class-with-a-name/{k:08d}.png", b"payload")
        writer.close()
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(200_000) < 1.1 * peak(80_000) + MIB


def test_a_writer_that_is_given_up_can_be_discarded_twice() -> None:
    writer = ZipWriter(io.BytesIO())
    writer.add("a", b"a")
    writer.discard()
    writer.discard()
