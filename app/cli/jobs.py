"""`synthloom jobs`: what was asked for, and what became of it."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import Annotated

import typer

from app.cli.connection import DataOption, KeyOption, ServerOption, Whereabouts, connected
from app.cli.failures import CommandError, ExitCode
from app.cli.job_reports import checked_report, save, show_verdict
from app.cli.progress import reason_to_wait, reporter
from app.cli.replay import replay
from app.cli.terminal import plain, print_json, print_table, say, stdout
from app.cli.told import webhook_facts
from app.client_types import Job

jobs = typer.Typer(no_args_is_help=True, help="List, look at, cancel and download jobs.")

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job: job_…")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")]


@jobs.command("list")
def list_jobs(
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=100_000, help="At most that many, newest first.")
    ] = 20,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the newest jobs."""
    with connected(Whereabouts(server, data, api_key)) as client:
        found = list(client.jobs(limit))
    if as_json:
        print_json([job.model_dump(mode="json") for job in found])
        return
    print_table(
        ("job", "state", "done", "samples", "models", "seed", "created (UTC)"),
        [
            (
                job.id,
                job.state.value,
                job.progress.samples_done,
                job.samples,
                _models(job),
                str(job.seed),
                f"{job.created.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            )
            for job in found
        ],
    )


@jobs.command("show")
def show_job(
    job: JobArgument,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one job: its state, its quotas, its archives, and why it failed if it did."""
    with connected(Whereabouts(server, data, api_key)) as client:
        found = client.job(job)
        reason = None if as_json else reason_to_wait(client, found)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    print_table(("", found.id), _facts(found))
    print_table(("class", "asked"), list(found.samples_per_class.items()))
    if reason is not None:
        say(reason)


@jobs.command("cancel")
def cancel(
    job: JobArgument,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
) -> None:
    """Cancel a job; its samples are discarded."""
    with connected(Whereabouts(server, data, api_key)) as client:
        found = client.cancel(job)
    stdout().print(plain(f"Job {found.id} is {found.state.value}."), soft_wrap=True)


@jobs.command("download")
def download(
    job: JobArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="File to write; JOB.zip if left out."),
    ] = None,
    archive_format: Annotated[
        str, typer.Option("--format", help="Format of the archive.")
    ] = "imagefolder",
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
) -> None:
    """Download a job's archive; run it again to go on where it broke."""
    target = out or Path(f"{job}.zip".replace("/", "_"))
    with connected(Whereabouts(server, data, api_key)) as client, reporter() as shown:
        found = client.download(job, archive_format, target, shown.received)
    line = f"{found.path} has {found.bytes:,} bytes and SHA-256 {found.sha256}."
    stdout().print(plain(line), soft_wrap=True)


@jobs.command("report")
def report(
    job: JobArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="File to write, .html or .json."),
    ] = None,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
) -> None:
    """Save the report of a job, or show its first line and its gate."""
    target = checked_report(out)
    with connected(Whereabouts(server, data, api_key)) as client:
        found = client.job(job)
        if found.report is None or target is not None:
            save(client, found, target or Path(f"{found.id}.html"))
    show_verdict(found.report)


@jobs.command("croissant")
def croissant(
    job: JobArgument,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="File to write.")] = Path(
        "croissant.json"
    ),
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
) -> None:
    """Save the description of a job's dataset in Croissant, for catalogues and loaders."""
    with connected(Whereabouts(server, data, api_key)) as client:
        document = client.croissant(job)
    try:
        out.write_bytes(document)
    except OSError as error:
        raise CommandError(f"{out} can't be written: {error.strerror}.", ExitCode.USAGE) from error
    stdout().print(plain(f"{out} describes the dataset of {job}."), soft_wrap=True)


def _models(job: Job) -> str:
    return ", ".join(f"{model.name}@{model.version}" for model in job.models)


def _refused(job: Job) -> list[tuple[str, str]]:
    counts = job.progress.refused
    said = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
    return [("refused", said)] if said else []


def _facts(job: Job) -> list[tuple[str, str]]:
    progress = job.progress
    facts = [
        ("state", job.state.value),
        ("samples", f"{progress.samples_done:,} of {progress.samples:,} done"),
        ("shards", f"{progress.shards_done:,} of {progress.shards:,} done"),
        *_refused(job),
        ("models", _models(job)),
        ("seed", str(job.seed)),
        ("created", job.created.isoformat()),
        ("started", job.started.isoformat() if job.started else "not yet"),
        ("finished", job.finished.isoformat() if job.finished else "not yet"),
    ]
    facts += [
        (f"archive {archive.format}", f"{archive.bytes:,} bytes, SHA-256 {archive.sha256}")
        for archive in job.archives
    ]
    facts += [("warning", warning) for warning in job.warnings]
    if job.report is not None:
        facts.append(("report", job.report.verdict))
    facts += webhook_facts(job.webhook)
    if job.problem is not None:
        facts.append(("problem", str(job.problem.get("detail") or job.problem.get("title"))))
    return facts


jobs.command("replay")(replay)
