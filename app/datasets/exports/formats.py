"""The formats in which a dataset can be asked for: one entry a format, nothing else knows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from app.datasets.document import dataset_document
from app.datasets.exports.container import Container
from app.datasets.exports.content import Stored
from app.datasets.exports.npz_dataset import write_npz
from app.datasets.exports.parquet_dataset import write_parquet
from app.datasets.exports.webdataset import Cut, write_webdataset
from app.datasets.merging.attribution import ATTRIBUTION, attribution
from app.datasets.merging.images import RealImages
from app.jobs.formats import Format, ImageFolder, Npz, Parquet, WebDataset
from app.jobs.plan import Plan
from app.storage import LargeWriter

IMAGEFOLDER: Final = "imagefolder"

SAMPLES_A_FILE: Final = 10_000
"""In a tar or Parquet file of an export, if its bytes allow."""
_FILE_BYTES: Final = 512 << 20
"""Raw pixels of a tar or Parquet file: about what one reader wants to fetch at a time."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """How one format is downloaded."""

    extension: str
    media_type: str


RENDERINGS: Final[Mapping[str, Rendering]] = MappingProxyType(
    {
        IMAGEFOLDER: Rendering("zip", "application/zip"),
        "webdataset": Rendering("zip", "application/zip"),
        "parquet": Rendering("zip", "application/zip"),
        "npz": Rendering("npz", "application/x-npz"),
    }
)


def samples_a_file(plan: Plan) -> int:
    """Samples of one tar or Parquet file."""
    return max(1, min(SAMPLES_A_FILE, _FILE_BYTES // plan.image.bytes))


def write_export(
    sink: LargeWriter,
    export: Format,
    plan: Plan,
    licences: Sequence[str],
    samples: Iterable[Stored],
    real: RealImages | None = None,
) -> int:
    """Write one export that is made of samples; returns the number of its files.

    export: any but `ImageFolder`, which copies shards as they are. real: the images of a dataset
    that it is merged with.
    """
    container = Container(sink)
    try:
        _write(container, export, plan, licences, samples, real)
        if real is not None:
            container.add(ATTRIBUTION, attribution(plan, real.merge, licences))
        container.close(dataset_document(plan, licences, export.type))
    finally:
        container.discard()
    return container.entries


def _write(
    container: Container,
    export: Format,
    plan: Plan,
    licences: Sequence[str],
    samples: Iterable[Stored],
    real: RealImages | None,
) -> None:
    match export:
        case WebDataset(shard_samples=count, shard_bytes=most):
            cut = Cut(count or samples_a_file(plan), most)
            write_webdataset(container, plan, samples, cut, real)
        case Parquet(shard_samples=count):
            write_parquet(container, plan, licences, samples, count or samples_a_file(plan), real)
        case Npz():
            write_npz(container, plan, samples, real)
        case ImageFolder():
            raise ValueError("class folders are copied from shards")
