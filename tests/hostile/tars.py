"""Tar files made to do harm, or that are no WebDataset: name -> content, kind."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Callable

import numpy as np

from tests.made_corpora import png, zipped

GOOD = png(np.full((4, 4, 3), 9, np.uint8))
SAMPLE = {"0.png": GOOD, "0.cls": b"a", "1.png": GOOD, "1.cls": b"b"}


def tar(files: dict[str, bytes], change: Callable[[tarfile.TarInfo], None] | None = None) -> bytes:
    """A tar file. change: of the entry of the last one."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number, (name, content) in enumerate(files.items(), 1):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            if change is not None and number == len(files):
                change(entry)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def link(entry: tarfile.TarInfo) -> None:
    entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, "/etc/passwd", 0


def device(entry: tarfile.TarInfo) -> None:
    entry.type, entry.size = tarfile.CHRTYPE, 0


def long_header(entry: tarfile.TarInfo) -> None:
    entry.pax_headers = {"comment": "x" * (3 << 20)}


def with_size(content: bytes, size: bytes) -> bytes:
    """The first header states another size, and its checksum is right."""
    header = bytearray(content[:512])
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header) + content[512:]


def sparse() -> bytes:
    """A member of 4 TiB of which 512 bytes are there."""
    header = bytearray(tar({"0.png": bytes(512)})[:512])
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[257:265] = b"ustar  \0"
    header[386:410] = b"00000000000\0" + b"00000001000\0"
    header[483:495] = b"\x80" + struct.pack(">3xQ", 4 << 40)
    return with_size(bytes(header) + bytes(512 + 1024), b"00000001000\0")


HUGE = b"\x80" + struct.pack(">3xQ", 1 << 60)
NEGATIVE = b"\xff" * 12

TARS: dict[str, tuple[bytes, str]] = {
    **{
        f"tar, member {name!a}": (tar(SAMPLE | {name: GOOD}), "unsafe-member")
        for name in (
            "../../2.png",
            "/etc/2.png",
            "a/../../2.png",
            "a\\2.png",
            "C:/2.png",
            "a//2.png",
        )
    },
    "tar, link": (tar(SAMPLE | {"2.png": b""}, link), "unsafe-member"),
    "tar, device": (tar(SAMPLE | {"2.png": b""}, device), "unsafe-member"),
    "tar, sparse": (sparse(), "unsafe-member"),
    "tar, endless header": (tar(SAMPLE | {"2.png": GOOD}, long_header), "damaged"),
    "tar, endless member": (with_size(tar(SAMPLE), HUGE), "file-too-large"),
    "tar, negative member": (with_size(tar(SAMPLE), NEGATIVE), "damaged"),
    "tar, cut": (tar(SAMPLE)[:700], "damaged"),
    "tar, wrong checksum": (tar(SAMPLE).replace(b"0.cls", b"0.clt"), "damaged"),
    "tar, nothing in it": (tar({".x": b""}), "no-images"),
    "tar, no label": (tar({"0.png": GOOD}), "labels"),
    "tar, labels of two kinds": (tar(SAMPLE | {"1.cls": b"1"}), "labels"),
    "tar, a long label": (tar({"0.png": GOOD, "0.cls": bytes(2_000)}), "file-too-large"),
    "tar, broken facts": (tar({"0.png": GOOD, "0.json": b"{" * 10_000}), "damaged"),
    "tar, no image": (tar({"0.txt": b"x", "0.cls": b"a"}), "no-image-bytes"),
    "tar, two images": (tar({"0.png": GOOD, "0.jpg": GOOD, "0.cls": b"a"}), "no-image-bytes"),
    "tar, one file twice": (tar({"0.png": GOOD, "0.PNG": GOOD, "0.cls": b"a"}), "damaged"),
    "tar, a pickle": (
        tar({"0.png": GOOD, "0.pkl": b"\x80\x04N.", "0.cls": b"a", "1.cls": b"a"}),
        "no-image-bytes",
    ),
    "tar beside images": (
        zipped({"a/1.png": GOOD, "b/2.png": GOOD, "c.tar": tar(SAMPLE)}),
        "nested-archive",
    ),
    "tar that is none": (zipped({"train-0.tar": b"x" * 2_000}), "damaged"),
    "tar in a tar": (tar({"0.tar": tar(SAMPLE), "0.cls": b"a"}), "no-image-bytes"),
}
