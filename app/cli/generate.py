"""`synthloom generate`: ask for samples, get a verified folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.connection import DataOption, KeyOption, ServerOption, Whereabouts, connected
from app.cli.delivery import Delivery, checked_target, deliver
from app.cli.job_reports import (
    AgainstOption,
    GateOption,
    LiftOption,
    MinutesOption,
    ReportOption,
    add_to,
    asked_of,
    checked_report,
    gate_refused,
    save,
    show_verdict,
)
from app.cli.progress import reporter
from app.cli.terminal import plain, print_json, print_table, stdout
from app.client_errors import JobFailedError
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


def generate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="NAME or NAME@VERSION.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="New folder for the dataset.")
    ],
    per_class: Annotated[
        int | None,
        typer.Option("--per-class", min=1, metavar="N", help="That many of every class."),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class", metavar="NAME=N", help="That many of one class; give it once a class."
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples", min=1, metavar="N", help="For a model that can't be asked for a class."
        ),
    ] = None,
    seed: SeedOption = None,
    labelled_by: LabelledByOption = None,
    min_confidence: ConfidenceOption = None,
    encoding: EncodingOption = ImageFormat.PNG,
    quality: QualityOption = None,
    layout: LayoutOption = Layout.IMAGEFOLDER,
    report: ReportOption = None,
    gate: GateOption = None,
    against: AgainstOption = None,
    lift: LiftOption = False,
    report_minutes: MinutesOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a dataset at DIR.")] = False,
    keep_archive: Annotated[
        bool, typer.Option("--keep-archive", help="Keep the archive too, as DIR.zip.")
    ] = False,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")
    ] = False,
) -> None:
    """Generate samples into a folder that ImageFolder reads, verified file by file.

    Uses the service at --server, or the one that runs on this machine; without one, a service
    is started for the length of this command. Ctrl-C cancels the job.
    """
    request = request_of(model, per_class, classes or [], samples, seed)
    request["formats"] = [layout.value]
    if encoding is not ImageFormat.PNG or quality is not None:
        request["encoding"] = encoding_of(encoding, quality)
    if labelled_by is not None or min_confidence is not None:
        request["labelled_by"] = labeller_of(labelled_by, min_confidence)
    add_to(request, asked_of(against, lift, report_minutes), gate)
    target, page = checked_target(out, force), checked_report(report)
    with connected(Whereabouts(server, data, api_key), embed=True) as client, reporter() as shown:
        try:
            delivery = deliver(client, request, target, shown, keep_archive)
        except JobFailedError as error:
            raise gate_refused(client, error, page) from error
        if page is not None:
            save(client, delivery.job, page)
    if as_json:
        print_json(summary(delivery))
    else:
        show(delivery, out)


def request_of(
    model: str, per_class: int | None, classes: list[str], samples: int | None, seed: int | None
) -> JobRequest:
    """The request that the options stand for; exactly one way to say how many."""
    if sum((per_class is not None, bool(classes), samples is not None)) != 1:
        raise typer.BadParameter(
            "Say how many with one of --per-class N, --class NAME=N or --samples N."
        )
    request = JobRequest(model=model, formats=["imagefolder"])
    if samples is not None:
        request["samples"] = samples
    else:
        request["samples_per_class"] = per_class if per_class is not None else quotas(classes)
    if seed is not None:
        request["seed"] = seed
    return request


def encoding_of(encoding: ImageFormat, quality: int | None) -> str | dict[str, Any]:
    """The encoding as a request writes it."""
    if quality is None:
        return encoding.value
    if encoding is ImageFormat.PNG:
        raise typer.BadParameter(
            "PNG is lossless; take --encoding jpeg or --encoding webp.", param_hint="--quality"
        )
    return {"format": encoding.value, "quality": quality}


def labeller_of(labelled_by: str | None, min_confidence: float | None) -> str | dict[str, Any]:
    """The classifier as a request writes it."""
    if labelled_by is None:
        raise typer.BadParameter(
            "Say which classifier has to be so sure: --labelled-by CLASSIFIER.",
            param_hint="--min-confidence",
        )
    if min_confidence is None:
        return labelled_by
    return {"classifier": labelled_by, "min_confidence": min_confidence}


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


def summary(delivery: Delivery) -> dict[str, Any]:
    """What a program wants to know."""
    archive = delivery.job.archive(delivery.job.formats[0])
    return {
        "job": delivery.job.id,
        "state": delivery.job.state.value,
        "models": [f"{model.name}@{model.version}" for model in delivery.job.models],
        "seed": delivery.job.seed,
        "samples": delivery.verification.images,
        "classes": [
            {"class": name, "asked": asked, "delivered": delivered}
            for name, asked, delivered in delivery.class_rows()
        ],
        "verdict": None if delivery.job.report is None else delivery.job.report.verdict,
        "gate": None if delivery.job.report is None else delivery.job.report.gate,
        "verified": delivery.verification.ok,
        "folder": str(delivery.folder),
        "archive": None if delivery.archive is None else str(delivery.archive),
        "archive_sha256": None if archive is None else archive.sha256,
        "generation_seconds": round(delivery.generation_seconds, 3),
        "seconds": round(delivery.seconds, 3),
        "samples_per_second": round(delivery.samples_per_second, 1),
    }


def show(delivery: Delivery, out: Path) -> None:
    """What a person wants to know."""
    reader = Layout(delivery.job.formats[0]).reader
    rows = delivery.class_rows()
    total = ("total", sum(row[1] for row in rows), sum(row[2] for row in rows))
    print_table(("class", "asked", "delivered"), [*rows, total], last_is_total=True)
    show_verdict(delivery.job.report)
    lines = [
        f"{delivery.job.samples:,} samples in {delivery.generation_seconds:.1f} s "
        f"({delivery.samples_per_second:,.0f} samples/s); {delivery.seconds:.1f} s with waiting, "
        f"download and check. Seed {delivery.job.seed}.",
        f"Every file is verified. Read them with {reader.format(str(out))}.",
    ]
    if delivery.archive is not None:
        lines.append(f"The archive is {out.with_name(delivery.archive.name)}.")
    for line in lines:
        stdout().print(plain(line), soft_wrap=True)
