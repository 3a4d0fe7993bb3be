"""Zip archives that lie: about their members' size, place, name, checksum and number."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

from models.importing.errors import Kind
from tests.hostile.building import Op, saved, state_dict, torch_zip, zipped
from tests.hostile.programs import Row, touch

DAMAGED = {Kind.DAMAGED}
PACKED = {Kind.COMPRESSED_MEMBERS}


def good() -> bytes:
    return saved(state_dict())


def changed(change: Callable[[bytearray], None]) -> Row:
    """A good file with some bytes of it changed."""

    def make(_: Path) -> bytes:
        content = bytearray(good())
        change(content)
        return bytes(content)

    return make, DAMAGED


def wrong_crc(marker: Path) -> bytes:
    """A call in the pickle and a checksum that makes unzip programs give up before they see it."""
    content = torch_zip(pickle.dumps(touch(marker), 2))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        crc = struct.pack("<L", archive.getinfo("archive/data.pkl").CRC)
    return content.replace(crc, b"\x00\x01\x02\x03")


def encrypted_flag(marker: Path) -> bytes:
    """The bit that says 'encrypted', in the directory only."""
    content = bytearray(torch_zip(pickle.dumps(touch(marker), 2)))
    content[content.find(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def twins(marker: Path) -> bytes:
    stream = io.BytesIO(good())
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(archive.namelist()[0], pickle.dumps(touch(marker)))
    return stream.getvalue()


def two_roots(marker: Path) -> bytes:
    return zipped({"a/data.pkl": pickle.dumps({}, 2), "b/data.pkl": pickle.dumps(touch(marker), 2)})


def climbing(_: Path) -> bytes:
    stream = io.BytesIO(good())
    with zipfile.ZipFile(stream, "a") as archive:
        for name in ("../../../../tmp/escaped", "/etc/escaped", "C:\\escaped", "a/../../b"):
            archive.writestr(name, b"x")
    return stream.getvalue()


def bomb(_: Path) -> bytes:
    """256 MiB of zeros in 1.2 MB."""
    numel = 64 << 20
    code = Op().raw(b"}").text("w").tensor((numel,), (1,), numel=numel).raw(b"s").end()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", code)
        with archive.open("archive/data/0", "w") as member:
            for _piece in range(64):
                member.write(bytes(4 << 20))
    return stream.getvalue()


def overlapping(_: Path) -> bytes:
    """Two members that are the same bytes: the second one's header lies in the first."""
    content = bytearray(torch_zip(pickle.dumps({}, 2), {"0": bytes(64), "1": bytes(64)}))
    second = content.rfind(b"PK\x01\x02")
    first = content.rfind(b"PK\x01\x02", 0, second)
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    return bytes(content)


def many_members(_: Path) -> bytes:
    return zipped({"a/data.pkl": b"."} | {f"a/data/{n}": b"" for n in range(60_000)})


def count_of_65535(_: Path) -> bytes:
    """A directory that refers to a zip64 record that is not there."""
    content = bytearray(torch_zip(pickle.dumps({}, 2)))
    end = content.rfind(b"PK\x05\x06")
    content[end + 8 : end + 12] = b"\xff\xff\xff\xff"
    return bytes(content)


def huge_directory(content: bytearray) -> None:
    end = content.rfind(b"PK\x05\x06")
    content[end + 12 : end + 16] = b"\xff\xff\xff\x7f"


def huge_member(content: bytearray) -> None:
    at = content.find(b"PK\x01\x02")
    content[at + 20 : at + 28] = b"\xfe\xff\xff\xff" * 2


def header_elsewhere(content: bytearray) -> None:
    at = content.rfind(b"PK\x01\x02")
    content[at + 42 : at + 46] = b"\xf0\xff\xff\x7f"


def zip64_lies(_: Path) -> bytes:
    """An extra field that gives a member 2^62 bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        made = zipfile.ZipInfo("archive/data/0")
        made.extra = struct.pack("<2HQQ", 1, 16, 1 << 62, 1 << 62)
        archive.writestr(made, b"")
    content = bytearray(stream.getvalue())
    at = content.rfind(b"PK\x01\x02")
    content[at + 20 : at + 28] = b"\xff" * 8
    return bytes(content)


def cut(tenths: int) -> Row:
    def make(_: Path) -> bytes:
        content = good()
        return content[: len(content) * tenths // 10]

    return make, DAMAGED


def flipped_storage(content: bytearray) -> None:
    content[content.find(state_dict()["l1.weight"].numpy().tobytes()) + 3] ^= 1


CASES: dict[str, Row] = {
    "wrong-crc-with-a-call": (wrong_crc, DAMAGED),
    "encrypted-flag-with-a-call": (encrypted_flag, PACKED),
    "two-members-one-name": (twins, DAMAGED),
    "two-pickles": (two_roots, DAMAGED),
    "climbing-names": (climbing, set()),  # never written anywhere: only names
    "deflated-bomb": (bomb, PACKED),
    "deflated": (lambda _: torch_zip(pickle.dumps({}), {}, zipfile.ZIP_DEFLATED), PACKED),
    "bzip2": (lambda _: torch_zip(pickle.dumps({}), {}, zipfile.ZIP_BZIP2), PACKED),
    "lzma": (lambda _: torch_zip(pickle.dumps({}), {}, zipfile.ZIP_LZMA), PACKED),
    "overlapping-members": (overlapping, DAMAGED),
    "60000-members": (many_members, {Kind.TOO_COMPLEX}),
    "no-members": (lambda _: zipped({}), {Kind.ZIP}),
    "one-member-of-nothing": (lambda _: zipped({"a": b""}), {Kind.ZIP}),
    "no-pickle": (lambda _: zipped({"a/version": b"3"}), {Kind.ZIP}),
    "zip-of-a-checkpoint": (lambda _: zipped({"generator.pth": good()}), {Kind.ZIP}),
    "empty-pickle": (lambda _: torch_zip(b""), DAMAGED),
    "storage-missing": (
        lambda _: torch_zip(Op().raw(b"}").text("w").tensor((4,), (1,)).raw(b"s").end()), DAMAGED),
    "zip64-missing": (count_of_65535, DAMAGED),
    "zip64-lies": (zip64_lies, DAMAGED),
    "huge-directory": (changed(huge_directory)[0], {Kind.TOO_COMPLEX}),
    "huge-member": changed(huge_member),
    "header-elsewhere": changed(header_elsewhere),
    "one-bit": changed(flipped_storage),
    "trailing-bytes": (lambda _: good() + b"x" * 100_000, DAMAGED),
    "big-endian": (
        lambda _: zipped({"a/data.pkl": pickle.dumps({}, 2), "a/byteorder": b"big"}), {Kind.DTYPE}),
    **{f"cut-at-{tenths}0-percent": cut(tenths) for tenths in range(1, 10)},
}  # fmt: skip
