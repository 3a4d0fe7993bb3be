"""What reading one dataset may cost. Imports nothing but the standard library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one dataset; what goes beyond is refused before it is read.

    images, classes: of the dataset. members: files of a folder or archive, images or not.
    file_bytes: of one file in it. unpacked_bytes: of all files of an archive together, and
    expansion: how many times the archive's own size that may be, beside 64 MiB.
    pixels: of one image. corpus_bytes: of the pixels that are brought into memory at once.
    """

    images: int = 2_000_000
    classes: int = 10_000
    members: int = 3_000_000
    file_bytes: int = 256 << 20
    unpacked_bytes: int = 64 << 30
    expansion: int = 50
    pixels: int = 64_000_000
    corpus_bytes: int = 8 << 30


DEFAULT = Limits()
