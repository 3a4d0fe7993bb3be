"""A downloaded manifest, as far as it speaks of the files of a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from app.datasets.ledger import Ledger
from app.datasets.members import DamagedError

LINE_BYTES_LIMIT = 64 << 10

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Hashes(NamedTuple):
    """Of one sample: its file, and its pixels before they were encoded."""

    file_sha256: bytes
    pixel_sha256: bytes


class ListedSample(BaseModel):
    """A line of the manifest; what else it says is not needed here."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)
    file: str
    file_sha256: Sha256
    pixel_sha256: Sha256


class ManifestFile:
    """Hashes by file name, each to be taken once; on disk when they are many."""

    def __init__(self, path: Path, ledger: Ledger) -> None:
        """Reads all of an NDJSON file. Raises `DamagedError` when it is no manifest."""
        self._ledger = ledger
        with path.open("rb") as file:
            lines = iter(lambda: file.readline(LINE_BYTES_LIMIT), b"")
            for number, line in enumerate(lines, 1):
                self._add(number, line)

    def _add(self, number: int, line: bytes) -> None:
        try:
            sample = ListedSample.model_validate_json(line)
        except ValidationError as error:
            raise DamagedError(f"is no manifest: line {number} does not name a sample") from error
        hashes = bytes.fromhex(sample.file_sha256 + sample.pixel_sha256)
        if not self._ledger.add(sample.file, hashes):
            raise DamagedError(f"names a file twice, again in line {number}")

    def take(self, path: str) -> Hashes | None:
        """The hashes of a file, or None when the manifest does not name it."""
        hashes = self._ledger.take(path)
        return None if hashes is None else Hashes(hashes[:32], hashes[32:])

    def left(self) -> Iterator[str]:
        """The files that were not taken, in order."""
        yield from self._ledger.left()
