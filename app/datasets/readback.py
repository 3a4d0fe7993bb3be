"""An archive that was just written, read once more from the disk before anybody gets it.

Read as its format's reader does: class folders by the rules of torchvision's `ImageFolder`, tar
files by `tarfile`, Parquet by pyarrow, arrays by numpy. Every sample's label is counted, of tar
files those of the first ones (`MOST_TAR_SAMPLES`; the others by their index and size), and images
all over the archive are decoded (`MOST_DECODED`). Hashes need no second look: they were computed
from the bytes as they were written.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from app.datasets.decoding import decode
from app.datasets.manifest import Layout
from app.datasets.members import DamagedError
from app.errors import UnreadableArchiveError
from app.jobs.plan import Plan
from models.corpus.zip_end import BadZipError
from models.corpus.zip_reader import Page, ZipReader

MOST_DECODED = 64
MOST_TAR_SAMPLES = 20_000
_LOOK_EVERY = 10_000
_LOCAL_BYTES = 30
_LABEL_BYTES = 1 << 20
_UNREADABLE = (
    DamagedError,
    BadZipError,
    zipfile.BadZipFile,
    tarfile.TarError,
    struct.error,
    OSError,
    ValueError,
    LookupError,
    EOFError,
)
"""What readers raise, those of pyarrow and numpy among them."""
_IMAGES = (".png", ".webp", ".jpg")
"""Of the extensions that `ImageFolder` takes, those that are written here."""


def read_back(
    path: Path, layout: str, plan: Plan, labels: Mapping[int, int], keep_going: Callable[[], None]
) -> int:
    """Read an archive; returns how many images were decoded.

    labels: label → samples that were written. `keep_going` is called now and then, and raises to
    stop. Raises UnreadableArchiveError when the archive can't be read or holds something else.
    """
    reading = Reading(plan, keep_going)
    try:
        _READERS[layout](path, reading)
    except _UNREADABLE as error:
        raise UnreadableArchiveError(
            f"The {layout} archive can't be read back ({error}). Check the disk, then submit the "
            "job again."
        ) from error
    wrong = _wrong(reading, labels)
    if wrong:
        raise UnreadableArchiveError(
            f"The {layout} archive does not hold what the manifest says: {wrong}. Check the disk, "
            "then submit the job again."
        )
    return reading.decoded


@dataclass
class Reading:
    """What was found so far."""

    plan: Plan
    keep_going: Callable[[], None]
    labels: Counter[int] = field(default_factory=Counter)
    seen: int = 0
    unread: int = 0
    """Samples that only an index tells of."""
    decoded: int = 0

    @cached_property
    def stride(self) -> int:
        """Of so many samples one is decoded."""
        return max(1, -(-self.plan.samples // MOST_DECODED))

    def count(self, label: int) -> bool:
        """Count a sample; whether its image is to be decoded."""
        self.labels[label] += 1
        self.seen += 1
        if self.seen % _LOOK_EVERY == 0:
            self.keep_going()
        return self.seen % self.stride == 0

    def count_all(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same of many [n]: which of their images are to be decoded."""
        values, counts = np.unique(labels, return_counts=True)
        self.labels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        before, self.seen = self.seen, self.seen + len(labels)
        if before // _LOOK_EVERY != self.seen // _LOOK_EVERY:
            self.keep_going()
        return np.arange(-(before + 1) % self.stride, len(labels), self.stride)

    def decode(self, image: bytes) -> None:
        """Decode an image. Raises DamagedError."""
        decode(image, self.plan.encoding, self.plan.image)
        self.decoded += 1


def _wrong(reading: Reading, labels: Mapping[int, int]) -> str:
    """What is not as it should be; empty if all is."""
    found, names = reading.labels, dict(enumerate(reading.plan.classes))
    wrong = [
        f"{names.get(label, f'label {label}')!a} {found[label]} times, not {labels.get(label, 0)}"
        for label in sorted({*found, *labels})
        if found[label] > labels.get(label, 0)
        or (not reading.unread and found[label] < labels.get(label, 0))
    ]
    total, wanted = found.total() + reading.unread, sum(labels.values())
    if not wrong and total != wanted:
        wrong = [f"{total} samples, not {wanted}"]
    return ", ".join(wrong[:5])


def _class_folders(path: Path, reading: Reading) -> None:
    folders = Folders(Layout(reading.plan))
    with ZipReader(path) as archive:
        for page in archive.pages():
            labels, images = folders.labels_in(page)
            for place in images[reading.count_all(labels)].tolist():
                reading.decode(b"".join(archive.chunks(page.entry(place))))


class Folders:
    """The folders of classes, and which of them files lie in."""

    def __init__(self, layout: Layout) -> None:
        names = np.array([name.encode() for name in layout.directories.values()])
        self._labels = np.argsort(names)
        self._names = names[self._labels]

    def labels_in(self, page: Page) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """int64 [m] each: labels of the images that are entries of the page, and which they are.

        Raises DamagedError for an image in a folder that no class has.
        """
        names, lengths = page.names()  # uint8 [n, w]
        slashes = names == ord("/")
        images = np.flatnonzero(slashes.any(axis=1) & _are_images(names, lengths))
        names, slashes = names[images], slashes[images]
        if not len(images):
            return images, images
        ends = names.shape[1] - 1 - slashes[:, ::-1].argmax(axis=1)  # each name's last slash
        folders = names * (np.arange(names.shape[1]) < ends[:, None])
        found = folders.view(f"S{names.shape[1]}")[:, 0]
        places = np.minimum(np.searchsorted(self._names, found), len(self._names) - 1)
        strange = np.flatnonzero(self._names[places] != found)
        if len(strange):
            name = names[strange[0]].tobytes().rstrip(b"\0").decode("utf-8", "replace")
            raise DamagedError(f"it holds {name!a}, which no class has")
        return self._labels[places], images


def _are_images(names: NDArray[np.uint8], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool [n]: by the ends of names."""
    found = np.zeros(len(names), np.bool_)
    for extension in _IMAGES:
        ending = np.frombuffer(extension.encode(), np.uint8)
        places = lengths[:, None] - len(ending) + np.arange(len(ending))
        ends = np.take_along_axis(names, np.maximum(places, 0), axis=1) if names.size else names
        found |= (lengths >= len(ending)) & (ends == ending).all(axis=1)
    return found


def _tar_files(path: Path, reading: Reading) -> None:
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        for listed in json.loads(archive.read("index.json"))["shardlist"]:
            entry, samples = archive.getinfo(listed["url"]), listed["nsamples"]
            if entry.file_size != listed["filesize"]:
                raise DamagedError(f"{entry.filename} has another size than its index says")
            if reading.seen >= MOST_TAR_SAMPLES:
                reading.unread += samples
                continue
            before = reading.seen
            _tar_file(_member(file, entry), reading)
            if reading.seen - before != samples:
                raise DamagedError(f"{entry.filename} has other samples than its index says")


def _tar_file(stream: BinaryIO, reading: Reading) -> None:
    image: IO[bytes] = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for entry in archive:
            cast("Any", archive).members.clear()  # it would keep them all
            file = archive.extractfile(entry)
            if file is None:
                raise DamagedError(f"it holds {entry.name!a}, which is no file")
            if entry.name.endswith(_IMAGES):
                image = file
            elif entry.name.endswith(".cls") and reading.count(int(file.read())):
                reading.decode(image.read())


def _tables(path: Path, reading: Reading) -> None:
    from pyarrow import parquet

    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if not entry.filename.endswith(".parquet"):
                continue
            table = parquet.ParquetFile(_member(file, entry))
            for number in range(table.num_row_groups):
                labels = table.read_row_group(number, ["label"]).column(0).to_numpy()
                if len(reading.count_all(labels)):
                    rows = table.iter_batches(1, row_groups=[number], columns=["image"])
                    reading.decode(next(rows).column(0)[0].as_py()["bytes"])


def _arrays(path: Path, reading: Reading) -> None:
    plan = reading.plan
    shape = (plan.samples, plan.image.height, plan.image.width, plan.image.channels)
    with path.open("rb") as file:
        with zipfile.ZipFile(file) as archive:
            entry = archive.getinfo("images.npy")
            stream = _member(file, entry)
            np.lib.format.read_magic(stream)
            found, _, dtype = np.lib.format.read_array_header_1_0(stream)
            content = entry.file_size - stream.tell()
            if found != shape or dtype != np.uint8 or content != int(np.prod(shape)):
                raise DamagedError(f"it has images of shape {found}, not {shape}")
            with archive.open("labels.npy") as labels:
                _count_labels(labels, reading)
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            if tuple(arrays["classes"].tolist()) != plan.classes:
                raise DamagedError("it names other classes")


def _count_labels(stream: IO[bytes], reading: Reading) -> None:
    """In pieces: there may be a hundred million."""
    np.lib.format.read_magic(stream)
    found, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if found != (reading.plan.samples,) or dtype != np.int64:
        raise DamagedError(f"it has labels of shape {found}, not ({reading.plan.samples},)")
    while piece := stream.read(_LABEL_BYTES):
        reading.count_all(np.frombuffer(piece, dtype))


def _member(file: BinaryIO, entry: zipfile.ZipInfo) -> BinaryIO:
    """A stored member as a file of its own, without a copy."""
    file.seek(entry.header_offset)
    head = file.read(_LOCAL_BYTES)
    name, extra = struct.unpack("<HH", head[26:30])
    start = entry.header_offset + _LOCAL_BYTES + name + extra
    return cast("BinaryIO", io.BufferedReader(_Part(file, start, entry.file_size)))


class _Part(io.RawIOBase):
    """So many bytes of a file, with a position of its own."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        piece = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


_READERS: Mapping[str, Callable[[Path, Reading], None]] = MappingProxyType(
    {
        "imagefolder": _class_folders,
        "webdataset": _tar_files,
        "parquet": _tables,
        "npz": _arrays,
    }
)
