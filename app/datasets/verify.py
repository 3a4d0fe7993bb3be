"""Does a dataset hold exactly what its SHA256SUMS and dataset.json say, and its manifest?

Every file is read once, in pieces; images are decoded. Memory grows neither with the size of the
files nor with their number.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
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
from app.datasets.names import SYNTHETIC_PREFIX
from app.datasets.places import Place, folders_of, metadata_of, place_of
from app.jobs.merge import REAL
from models.corpus.image_files import decoded
from models.corpus.limits import DEFAULT
from models.corpus.preprocessing import pixels_of
from models.errors import DatasetError

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
    """Class → samples."""
    delivered: dict[str, int] = field(default_factory=dict)
    real: dict[str, dict[str, int]] = field(default_factory=dict)
    """Split → class → real images, of a dataset that is merged with a real one."""
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
        self._folders: Mapping[str, tuple[str, str]] = {}
        self._delivered: Counter[Place] = Counter()

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
        for (split, origin, label), count in labels.items():
            known = 0 <= label < len(classes)
            name = classes[label] if known else f"label {label}"
            self._delivered[Place(split, origin, name)] += count

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
        self._folders = folders_of(self._description)
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
        described = self._description
        if described is None or "/" not in member.path or self._in_files:
            self._check_hash(member, expected)
            return
        if member.path in metadata_of(described):
            self._check_hash(member, expected)
            return
        place = place_of(member.path, described, self._folders)
        real = place is not None and place.origin == REAL
        limit = DEFAULT.file_bytes if real else described.image.file_bytes_limit
        if place is None:
            self._found.report(
                f"{_shown(member.path)} is not a {described.encoding.format.upper()} file "
                f"in one of the classes of {DESCRIPTION}."
            )
        elif member.bytes > limit:
            self._found.report(
                f"{_shown(member.path)} has {member.bytes:,} bytes, more than an image of its "
                "size can need."
            )
        else:
            self._delivered[place] += 1
            self._check_image(member, expected, described, real)

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

    def _check_image(
        self, member: Member, expected: bytes, description: Description, real: bool
    ) -> None:
        self._found.images += 1
        try:
            payload = b"".join(self._members.chunks(member))
            self._found.bytes += len(payload)
            if hashlib.sha256(payload).digest() != expected:
                raise DamagedError(f"is not the file that {CHECKSUMS} lists")
            if real:
                pixels = _real_pixels(payload, member.path, description)
            else:
                pixels = decode(payload, description.encoding, description.image)
            if description.identifier is not None and not real:
                name = member.path.rpartition("/")[2].removeprefix(SYNTHETIC_PREFIX)
                marks.check(payload, description.identifier, name)
            if self._manifest is not None:
                listed = self._manifest.take(member.path)
                whole = real or description.encoding.lossless
                _compare(listed, expected, pixels if whole else None)
        except DamagedError as error:
            self._found.report(f"{_shown(member.path)} {error}.")

    def _compare_counts(self) -> None:
        if self._description is None:
            return
        stated = {Place(*key): count for key, count in self._description.counts().items()}
        for name in self._description.samples_per_class:
            self._found.delivered[name] = 0
        for place in dict.fromkeys([*stated, *sorted(self._delivered)]):
            delivered, asked = self._delivered[place], stated.get(place, 0)
            if place.origin == REAL:
                self._found.real.setdefault(place.split, {})[place.class_name] = delivered
            else:
                self._found.delivered[place.class_name] = delivered
            if delivered != asked:
                self._found.report(
                    f"Class {_shown(place.class_name)} has {delivered:,} {self._kind(place)}, not "
                    f"the {asked:,} that {DESCRIPTION} states."
                )

    def _kind(self, place: Place) -> str:
        merged = self._description is not None and self._description.merged is not None
        return f"{place.origin} images in {place.split}" if merged else "images"


def _real_pixels(payload: bytes, path: str, description: Description) -> NDArray[np.uint8]:
    """The pixels of a real image, with the channels that it has."""
    try:
        pixels = pixels_of(decoded(payload, path, DEFAULT))
    except DatasetError as error:
        raise DamagedError(f"can't be decoded ({error})") from error
    height, width = description.image.height, description.image.width
    if pixels.shape[:2] != (height, width):
        raise DamagedError(f"is {pixels.shape[0]} x {pixels.shape[1]}, not {height} x {width}")
    return pixels


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
