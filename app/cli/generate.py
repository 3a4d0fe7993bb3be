"""`synthloom generate`: ask for samples, get a verified folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.asking import (
    BalanceOption,
    BalanceToOption,
    ClassOption,
    ConfidenceOption,
    Cutting,
    EncodingOption,
    ImageFormat,
    LabelledByOption,
    Layout,
    LayoutOption,
    MetadataOption,
    OutOption,
    PerClassOption,
    QualityOption,
    SamplesOption,
    SeedOption,
    ShardBytesOption,
    ShardSamplesOption,
    add_files,
    add_labeller,
    request_of,
)
from app.cli.checks import CheckOption, CopiesOption, PercentileOption, add_checks
from app.cli.connection import (
    DataOption,
    KeyOption,
    ServerOption,
    WebhookOption,
    Whereabouts,
    connected,
)
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
from app.cli.real_datasets import MergeOption, add_merge, bring
from app.cli.sampling import PsiOption, TemperatureOption, TruncationOption, add_sampling
from app.cli.terminal import plain, print_json, print_table, stdout
from app.cli.transforms import TransformOption, VariantsOption, add_transforms
from app.cli.verify import real_summary, show_real
from app.client_errors import JobFailedError
from app.client_types import JobRequest

KeepArchiveOption = Annotated[
    bool, typer.Option("--keep-archive", help="Keep the archive too, as DIR.zip.")
]
C2paOption = Annotated[
    bool, typer.Option("--c2pa", help="Sign every image with the server's C2PA certificate.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")
]


def generate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="NAME or NAME@VERSION.")],
    out: OutOption,
    per_class: PerClassOption = None,
    classes: ClassOption = None,
    samples: SamplesOption = None,
    balance: BalanceOption = None,
    balance_to: BalanceToOption = None,
    merge: MergeOption = None,
    transforms: TransformOption = None,
    variants: VariantsOption = 1,
    seed: SeedOption = None,
    labelled_by: LabelledByOption = None,
    min_confidence: ConfidenceOption = None,
    truncation: TruncationOption = None,
    psi: PsiOption = None,
    temperature: TemperatureOption = None,
    check: CheckOption = None,
    copies: CopiesOption = None,
    copies_percentile: PercentileOption = None,
    encoding: EncodingOption = ImageFormat.PNG,
    quality: QualityOption = None,
    c2pa: C2paOption = False,
    webhook: WebhookOption = None,
    layout: LayoutOption = Layout.IMAGEFOLDER,
    shard_samples: ShardSamplesOption = None,
    shard_bytes: ShardBytesOption = None,
    metadata: MetadataOption = False,
    report: ReportOption = None,
    gate: GateOption = None,
    against: AgainstOption = None,
    lift: LiftOption = False,
    report_minutes: MinutesOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a dataset at DIR.")] = False,
    keep_archive: KeepArchiveOption = False,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Generate samples into a folder that ImageFolder reads, verified file by file.

    Uses the service at --server, or the one that runs on this machine; without one, a service
    is started for the length of this command. Ctrl-C cancels the job.
    """
    request = request_of(model, per_class, classes, samples, (balance, balance_to))
    if seed is not None:
        request["seed"] = seed
    add_sampling(request, truncation, psi, temperature)
    add_files(request, layout, Cutting(shard_samples, shard_bytes, metadata), encoding, quality)
    _add_signature_and_webhook(request, c2pa, webhook)
    add_merge(request, merge)
    add_transforms(request, transforms, variants)
    add_labeller(request, labelled_by, min_confidence)
    add_checks(request, check, copies, copies_percentile)
    add_to(request, asked_of(against, lift, report_minutes), gate)
    target, page = checked_target(out, force), checked_report(report)
    where = Whereabouts(server, data, api_key)
    _tell(_delivered(where, request, target, keep_archive, page), out, as_json)


def _add_signature_and_webhook(request: JobRequest, c2pa: bool, webhook: str | None) -> None:
    if c2pa:
        request["c2pa"] = True
    if webhook is not None:
        request["webhook"] = {"url": webhook}


def _tell(delivery: Delivery, out: Path, as_json: bool) -> None:
    if as_json:
        print_json(summary(delivery) | real_summary(delivery.verification))
    else:
        show(delivery, out)


def _delivered(
    where: Whereabouts, request: JobRequest, target: Path, keep_archive: bool, page: Path | None
) -> Delivery:
    # A service that is started for this command would end before it has told anybody.
    embed = "webhook" not in request
    with connected(where, embed=embed) as client, reporter() as shown:
        bring(client, request)
        try:
            delivery = deliver(client, request, target, shown, keep_archive)
        except JobFailedError as error:
            raise gate_refused(client, error, page) from error
        if page is not None:
            save(client, delivery.job, page)
    return delivery


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
    layout = Layout(delivery.job.formats[0])
    in_splits = layout is Layout.IMAGEFOLDER and len(delivery.verification.real) > 1
    rows = delivery.class_rows()
    total = ("total", sum(row[1] for row in rows), sum(row[2] for row in rows))
    print_table(("class", "asked", "delivered"), [*rows, total], last_is_total=True)
    show_real(delivery.verification)
    show_verdict(delivery.job.report)
    folder = str(out / "train" if in_splits else out)
    lines = [
        f"{delivery.job.samples:,} samples in {delivery.generation_seconds:.1f} s "
        f"({delivery.samples_per_second:,.0f} samples/s); {delivery.seconds:.1f} s with waiting, "
        f"download and check. Seed {delivery.job.seed}.",
        f"Every file is verified. Read them with {layout.reader.format(folder)}.",
    ]
    if delivery.job.variants > 1:
        lines.append(
            f"Up to {delivery.job.variants} of them were made of each drawn image: what has one "
            "`variant_of` in the manifest belongs into one split."
        )
    if delivery.archive is not None:
        lines.append(f"The archive is {out.with_name(delivery.archive.name)}.")
    for line in lines:
        stdout().print(plain(line), soft_wrap=True)
