"""Does a dataset hold exactly what its SHA256SUMS and dataset.json say, and its manifest?

Every file is read once, in pieces; images are decoded. Memory grows neither with the size of the
files nor with their number.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.datasets import marks
from app.datasets.checksums import read_checksums
from app.datasets.decoding import decode
from app.datasets.description import Description, read_description
from app.datasets.exports.labels import labels_in
from app.datasets.ledger import Ledger, TakenError
from app.datasets.manifest_file import Hashes, ManifestFile
from app.datasets.members import (
    CHECKSUMS,
    DESCRIPTION,
    DamagedError,
    Member,
    Members,
    members_of,
)

PROBLEMS_KEPT = 100

OnFile = Callable[[int], None]
"""Called with the number of files checked so far."""


@dataclass
class Verification:
    """What was found; `ok` when there is nothing wrong."""

    path: Path
    files: int = 0
    images: int = 0
    bytes: int = 0
    asked: dict[str, int] = field(default_factory=dict)
    delivered: dict[str, int] = field(default_factory=dict)
    seed: int | None = None
    models: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0

    @property
    def ok(self) -> bool:
        """True when every check passed."""
        return self.problem_count == 0

    def report(self, sentence: str) -> None:
        """Counts a problem, and keeps it as long as the list is short."""
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(sentence)


def verify(path: Path, on_file: OnFile | None = None, manifest: Path | None = None) -> Verification:
    """Checks a folder or zip; expects it to exist and raises nothing about its content.

    With a manifest, the NDJSON file of its job, every image must also be the file that is listed
    there; a lossless one must decode to pixels of the hash that is listed there. A lossy one
    does not: `pixel_sha256` is of the pixels before they were encoded.
    """
    found = Verification(path)
    with Ledger() as ledger, Ledger() as listed:
        rows = _read_manifest(manifest, listed, found) if manifest else None
        try:
            with members_of(path) as members, _bombs_are_errors():
                _Check(members, ledger, found, on_file or (lambda files: None), rows).run()
        except DamagedError as error:
            found.report(f"{path.name} {error}.")
    return found


def _read_manifest(path: Path, ledger: Ledger, found: Verification) -> ManifestFile | None:
    try:
        return ManifestFile(path, ledger)
    except (DamagedError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        found.report(f"{path.name} {reason}.")
        return None


class _Check:
    """One pass over the members."""

    def __init__(
        self,
        members: Members,
        ledger: Ledger,
        found: Verification,
        on_file: OnFile,
        manifest: ManifestFile | None,
    ) -> None:
        self._members = members
        self._ledger = ledger
        self._found = found
        self._on_file = on_file
        self._manifest = manifest
        self._description: Description | None = None
        self._class_of: dict[str, str] = {}
        self._delivered: Counter[str] = Counter()

    def run(self) -> None:
        self._read_description()
        if not self._read_checksums():
            return
        for member in self._members:
            self._found.files += 1
            self._check_member(member)
            self._on_file(self._found.files)
        for path in self._ledger.left():
            self._found.report(f"{_shown(path)} is listed in {CHECKSUMS} but missing.")
        if self._in_files and self._manifest is not None:
            self._found.report("Only an imagefolder archive can be compared with a manifest.")
        for path in self._manifest.left() if self._manifest and not self._in_files else ():
            self._found.report(f"{_shown(path)} is listed in the manifest but missing.")
        if self._in_files:
            self._count_labels()
        self._compare_counts()

    @property
    def _in_files(self) -> bool:
        """Whether samples lie in tar, Parquet or array files instead of image files."""
        return self._description is not None and self._description.layout != "imagefolder"

    def _count_labels(self) -> None:
        assert self._description is not None
        classes = list(self._description.directories)
        try:
            labels = labels_in(self._members, self._description)
        except DamagedError as error:
            self._found.report(f"{self._found.path.name} {error}.")
            return
        self._found.images = labels.total()
        for label, count in labels.items():
            known = 0 <= label < len(classes)
            self._delivered[classes[label] if known else f"label {label}"] += count

    def _check_member(self, member: Member) -> None:
        try:
            expected = self._ledger.take(member.path)
        except TakenError:
            self._found.report(f"{_shown(member.path)} is there more than once.")
            return
        if member.refusal:
            self._found.report(f"{_shown(member.path)} {member.refusal}.")
        elif expected is not None:
            self._check_file(member, expected)
        elif member.path != CHECKSUMS:
            self._found.report(f"{_shown(member.path)} is not listed in {CHECKSUMS}.")
        else:
            self._ledger.add(CHECKSUMS, b"")
            self._ledger.take(CHECKSUMS)

    def _read_description(self) -> None:
        try:
            self._description = read_description(self._members)
        except DamagedError as error:
            self._found.report(f"{DESCRIPTION} {error}.")
            return
        self._class_of = {
            directory: name for name, directory in self._description.directories.items()
        }
        self._found.asked = dict(self._description.samples_per_class)
        self._found.seed = self._description.seed
        self._found.models = [model.reference for model in self._description.models]

    def _read_checksums(self) -> bool:
        try:
            read_checksums(self._members, self._ledger, self._found.report)
        except DamagedError as error:
            self._found.report(f"{CHECKSUMS} {error}; nothing can be checked without it.")
            return False
        return True

    def _check_file(self, member: Member, expected: bytes) -> None:
        directory, _, name = member.path.rpartition("/")
        if self._description is None or not directory or self._in_files:
            self._check_hash(member, expected)
        elif directory not in self._class_of or not name.endswith(
            f".{self._description.encoding.extension}"
        ):
            self._found.report(
                f"{_shown(member.path)} is not a {self._description.encoding.format.upper()} file "
                f"in one of the classes of {DESCRIPTION}."
            )
        elif member.bytes > self._description.image.file_bytes_limit:
            self._found.report(
                f"{_shown(member.path)} has {member.bytes:,} bytes, more than an image of its "
                "size can need."
            )
        else:
            self._delivered[self._class_of[directory]] += 1
            self._check_image(member, expected, self._description)

    def _check_hash(self, member: Member, expected: bytes) -> None:
        digest = hashlib.sha256()
        try:
            for chunk in self._members.chunks(member):
                digest.update(chunk)
                self._found.bytes += len(chunk)
        except DamagedError as error:
            self._found.report(f"{_shown(member.path)} {error}.")
            return
        if digest.digest() != expected:
            self._found.report(f"{_shown(member.path)} is not the file that {CHECKSUMS} lists.")

    def _check_image(self, member: Member, expected: bytes, description: Description) -> None:
        self._found.images += 1
        try:
            payload = b"".join(self._members.chunks(member))
            self._found.bytes += len(payload)
            if hashlib.sha256(payload).digest() != expected:
                raise DamagedError(f"is not the file that {CHECKSUMS} lists")
            pixels = decode(payload, description.encoding, description.image)
            if description.identifier is not None:
                marks.check(payload, description.identifier, member.path)
            if self._manifest is not None:
                listed = self._manifest.take(member.path)
                _compare(listed, expected, pixels if description.encoding.lossless else None)
        except DamagedError as error:
            self._found.report(f"{_shown(member.path)} {error}.")

    def _compare_counts(self) -> None:
        if self._description is None:
            return
        names = dict.fromkeys([*self._description.samples_per_class, *sorted(self._delivered)])
        self._found.delivered = {name: self._delivered[name] for name in names}
        for name, delivered in self._found.delivered.items():
            asked = self._description.samples_per_class.get(name, 0)
            if delivered != asked:
                self._found.report(
                    f"Class {_shown(name)} has {delivered:,} images, not the {asked:,} that "
                    f"{DESCRIPTION} states."
                )


def _compare(listed: Hashes | None, digest: bytes, pixels: NDArray[np.uint8] | None) -> None:
    if listed is None:
        raise DamagedError("is not listed in the manifest")
    if listed.file_sha256 != digest:
        raise DamagedError("is not the file that the manifest lists")
    if pixels is not None and hashlib.sha256(pixels.tobytes()).digest() != listed.pixel_sha256:
        raise DamagedError("does not decode to the pixels that the manifest lists")


@contextmanager
def _bombs_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _shown(name: str) -> str:
    """A name for a message: one line, no control characters, not endless."""
    line = name.encode("utf-8", "replace").decode()
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= 120 else f"{line[:117]}..."
