"""What `generate` is asked: its options, and the request that they stand for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from app.client_types import JobRequest

LARGEST_SEED = 2**53 - 1


class Layout(StrEnum):
    """How the samples lie in the folder."""

    IMAGEFOLDER = "imagefolder"
    WEBDATASET = "webdataset"
    PARQUET = "parquet"
    NPZ = "npz"

    @property
    def reader(self) -> str:
        """What reads a folder of it; `{}` stands for its path."""
        return {
            Layout.IMAGEFOLDER: "torchvision.datasets.ImageFolder({!r})",
            Layout.WEBDATASET: "webdataset.WebDataset over the .tar files in {}",
            Layout.PARQUET: "datasets.load_dataset({!r})",
            Layout.NPZ: "numpy.load of the .npy files in {}",
        }[self]


LayoutOption = Annotated[
    Layout, typer.Option("--format", help="How the samples lie in DIR: for which reader.")
]
ShardSamplesOption = Annotated[
    int | None,
    typer.Option(
        "--shard-samples", min=1, metavar="N", help="Of webdataset and parquet: samples in a file."
    ),
]
ShardBytesOption = Annotated[
    int | None,
    typer.Option(
        "--shard-bytes", min=1 << 16, metavar="BYTES", help="Of webdataset: most bytes of a file."
    ),
]
MetadataOption = Annotated[
    bool,
    typer.Option(
        "--metadata", help="Of imagefolder: add metadata.jsonl, for Hugging Face datasets."
    ),
]


class ImageFormat(StrEnum):
    """Forms of image files."""

    PNG = "png"
    WEBP = "webp"
    JPEG = "jpeg"


EncodingOption = Annotated[
    ImageFormat, typer.Option("--encoding", help="Form of the image files; webp is lossless.")
]
QualityOption = Annotated[
    int | None,
    typer.Option(
        "--quality", min=1, max=100, metavar="Q", help="Of jpeg: 95 if left out; makes webp lossy."
    ),
]

SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        max=LARGEST_SEED,
        metavar="SEED",
        help="Same seed, same samples; random if left out.",
    ),
]
LabelledByOption = Annotated[
    str | None,
    typer.Option(
        "--labelled-by",
        metavar="CLASSIFIER",
        help="Have this classifier label what a model without classes draws.",
    ),
]
ConfidenceOption = Annotated[
    float | None,
    typer.Option(
        "--min-confidence",
        min=0.0,
        max=1.0,
        metavar="P",
        help="Of the classifier: smallest probability that counts; 0 if left out.",
    ),
]

OutOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="New folder for the dataset.")
]
PerClassOption = Annotated[
    int | None, typer.Option("--per-class", min=1, metavar="N", help="That many of every class.")
]
ClassOption = Annotated[
    list[str] | None,
    typer.Option("--class", metavar="NAME=N", help="That many of one class; give it once a class."),
]
SamplesOption = Annotated[
    int | None,
    typer.Option(
        "--samples", min=1, metavar="N", help="For a model that can't be asked for a class."
    ),
]
BalanceOption = Annotated[
    str | None,
    typer.Option(
        "--balance",
        metavar="DATASET",
        help="What this dataset, uploaded or a path, lacks to have all classes as large as its "
        "largest.",
    ),
]
BalanceToOption = Annotated[
    str | None,
    typer.Option(
        "--balance-to",
        metavar="N|SHARE|max",
        help="With --balance: every class at least that large, or that part of the largest (0.5).",
    ),
]


def request_of(
    model: str,
    per_class: int | None = None,
    classes: list[str] | None = None,
    samples: int | None = None,
    balance: tuple[str | None, str | None] = (None, None),
) -> JobRequest:
    """The request that the options stand for; exactly one way to say how many.

    balance: a dataset, and the size that every class shall have; None for that of its largest.
    """
    dataset, size = balance
    ways = (per_class is not None, bool(classes), samples is not None, dataset is not None)
    if sum(ways) != 1:
        raise typer.BadParameter(
            "Say how many with one of --per-class N, --class NAME=N, --samples N or "
            "--balance DATASET."
        )
    if size is not None and dataset is None:
        raise typer.BadParameter("Say what to balance: --balance DATASET.")
    request = JobRequest(model=model, formats=["imagefolder"])
    if dataset is not None:
        request["balance"] = {"dataset": dataset, "to": _balanced_to(size or "max")}
    elif samples is not None:
        request["samples"] = samples
    else:
        request["samples_per_class"] = quotas(classes) if classes else per_class or 0
    return request


def _balanced_to(size: str) -> str | int | dict[str, float]:
    """A target of a balance: `max`, a whole number, or a part of the largest class."""
    if size == "max":
        return size
    try:
        if size.isdecimal() and int(size) > 0:
            return int(size)
        if 0 < (part := float(size)) <= 1:
            return {"ratio": part}
    except ValueError:
        pass
    raise typer.BadParameter(
        f"{size[:40]!a} is neither a whole number of images, nor a part of the largest class like "
        "0.5, nor max. A recipe can also give a distribution.",
        param_hint="--balance-to",
    )


class Cutting(NamedTuple):
    """Options of a format."""

    shard_samples: int | None = None
    shard_bytes: int | None = None
    metadata: bool = False


def format_of(layout: Layout, cutting: Cutting) -> str | dict[str, Any]:
    """The format as a request writes it."""
    options = {name: value for name, value in cutting._asdict().items() if value}
    for name in options:
        if name not in _OPTIONS[layout]:
            raise typer.BadParameter(
                f"{layout.value} has no such option.", param_hint=f"--{name.replace('_', '-')}"
            )
    return {"type": layout.value, **options} if options else layout.value


_OPTIONS = {
    Layout.IMAGEFOLDER: ("metadata",),
    Layout.WEBDATASET: ("shard_samples", "shard_bytes"),
    Layout.PARQUET: ("shard_samples",),
    Layout.NPZ: (),
}


def add_files(
    request: JobRequest,
    layout: Layout,
    cutting: Cutting,
    encoding: ImageFormat,
    quality: int | None,
) -> None:
    """How the samples become files."""
    request["formats"] = [format_of(layout, cutting)]
    if encoding is not ImageFormat.PNG or quality is not None:
        request["encoding"] = encoding_of(encoding, quality)


def encoding_of(encoding: ImageFormat, quality: int | None) -> str | dict[str, Any]:
    """The encoding as a request writes it."""
    if quality is None:
        return encoding.value
    if encoding is ImageFormat.PNG:
        raise typer.BadParameter(
            "PNG is lossless; take --encoding jpeg or --encoding webp.", param_hint="--quality"
        )
    return {"format": encoding.value, "quality": quality}


def add_labeller(
    request: JobRequest, labelled_by: str | None, min_confidence: float | None
) -> None:
    """Who labels what a model without classes draws, and how sure of it, if asked."""
    if labelled_by is None and min_confidence is None:
        return
    if labelled_by is None:
        raise typer.BadParameter(
            "Say which classifier has to be so sure: --labelled-by CLASSIFIER.",
            param_hint="--min-confidence",
        )
    if min_confidence is None:
        request["labelled_by"] = labelled_by
    else:
        request["labelled_by"] = {"classifier": labelled_by, "min_confidence": min_confidence}


def quotas(classes: list[str]) -> dict[str, int]:
    """`["bag=200", "coat=50"]` as a mapping; a name may hold `=` itself."""
    found: dict[str, int] = {}
    for text in classes:
        name, _, number = text.rpartition("=")
        if not name or not (number.isascii() and number.isdigit()) or not 0 < int(number) < 10**12:
            raise typer.BadParameter(f"{text!r} is not like bag=200.", param_hint="--class")
        if name in found:
            raise typer.BadParameter(f"{name!r} is given twice.", param_hint="--class")
        found[name] = int(number)
    return found
