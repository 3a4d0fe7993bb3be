"""Reports of jobs on the command line: what to measure, what must hold, where the report goes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.failures import CommandError, ExitCode
from app.cli.terminal import plain, print_table, say, stdout
from app.client import Client
from app.client_errors import JobFailedError
from app.client_types import Job, JobReport, JobRequest

GATE_FAILED = "gate-failed"
FORMS = {".html": "html", ".htm": "html", ".json": "json"}

ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report", metavar="FILE", help="Save the report: .html for people, .json for programs."
    ),
]
GateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--gate",
        metavar="CONDITION",
        help="As 'label_agreement>=0.95'; repeatable. One that does not hold: exit code 5.",
    ),
]
AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against", metavar="DATASET", help="Hold the samples against an uploaded dataset: ds_…"
    ),
]
LiftOption = Annotated[
    bool,
    typer.Option("--lift", help="With --against: train classifiers to see whether samples help."),
]
MinutesOption = Annotated[
    float | None,
    typer.Option(
        "--report-minutes", min=0.1, metavar="M", help="With --against: most that it may take."
    ),
]


def asked_of(against: str | None, lift: bool, minutes: float | None) -> dict[str, Any] | None:
    """What the report shall hold, as a request writes it."""
    if against is None:
        if lift or minutes is not None:
            raise typer.BadParameter(
                "Say which real images: --against DATASET.",
                param_hint="--lift" if lift else "--report-minutes",
            )
        return None
    asked: dict[str, Any] = {"against": against}
    if lift:
        asked["lift"] = True
    if minutes is not None:
        asked["minutes"] = minutes
    return asked


def checked_report(path: Path | None) -> Path | None:
    """The path, when its ending says which form is wanted."""
    if path is not None and path.suffix.lower() not in FORMS:
        raise typer.BadParameter(
            f"{path.name!r} ends neither with .html nor with .json.", param_hint="--report"
        )
    return path


def add_to(
    request: JobRequest, report: dict[str, Any] | None, gate: list[str] | None
) -> JobRequest:
    """The request with what its report shall hold and meet."""
    if report is not None:
        request["report"] = report
    if gate:
        request["gate"] = gate
    return request


def save(client: Client, job: Job, path: Path) -> None:
    """Put the report of a job that has ended at `path`."""
    content = client.report(job, FORMS[path.suffix.lower()])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    say(f"The report is {path}.")


def gate_refused(client: Client, error: JobFailedError, path: Path | None) -> CommandError:
    """What to say of a job that failed, and its report saved if it was its gate."""
    problem = error.job.problem or {}
    if not str(problem.get("type", "")).endswith(f"/{GATE_FAILED}"):
        return CommandError(str(error))
    if error.job.report is not None:
        show_gate(error.job.report)
    if path is not None:
        save(client, error.job, path)
    return CommandError(str(error), ExitCode.GATE)


def show_gate(report: JobReport) -> None:
    """Each condition of a gate, and what came of it."""
    rows = gate_rows(report.gate)
    if rows:
        print_table(("gate", "value", "holds", "note"), rows)


def gate_rows(gate: Mapping[str, Any] | None) -> list[tuple[str, str, str, str]]:
    """Of each condition of a gate: itself, the value, whether it holds, and a note."""
    return [
        (
            outcome["condition"],
            "not measured" if outcome["value"] is None else f"{outcome['value']:.4g}",
            "yes" if outcome["holds"] else "no",
            outcome.get("reason") or "",
        )
        for outcome in (gate or {}).get("conditions", [])
    ]


def show_verdict(report: JobReport | None) -> None:
    """The first line of a report, and its gate."""
    if report is None:
        return
    show_gate(report)
    stdout().print(plain(report.verdict), soft_wrap=True)
