"""`synthloom trainings` and `synthloom evaluations`: what was asked for, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from app.cli.connection import DataOption, KeyOption, ServerOption, Whereabouts, connected
from app.cli.failures import InterruptedByUserError
from app.cli.run_progress import run_reporter, told
from app.cli.terminal import plain, print_json, print_table, say, stdout
from app.cli.told import webhook_facts
from app.client import Client
from app.client_errors import ClientError
from app.client_runs import Evaluation, Run, RunCalls, Training

trainings = typer.Typer(no_args_is_help=True, help="List, look at and cancel trainings.")
evaluations = typer.Typer(no_args_is_help=True, help="List, look at and cancel evaluations.")

TrainingArgument = Annotated[str, typer.Argument(metavar="TRAINING", help="Id: tr_…")]
EvaluationArgument = Annotated[str, typer.Argument(metavar="EVALUATION", help="Id: ev_…")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, max=100_000, help="At most that many, newest first.")
]
R = TypeVar("R", bound=Run)


@trainings.command("list")
def list_trainings(
    limit: LimitOption = 20,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the newest trainings."""
    with connected(Whereabouts(server, data, api_key)) as client:
        found = list(client.trainings.list(limit))
    if as_json:
        print_json([run.model_dump(mode="json") for run in found])
        return
    print_table(
        ("training", "state", "done", "architecture", "dataset", "model", "created (UTC)"),
        [
            (run.id, run.state.value, _done(run), run.architecture, run.dataset,
             run.model or run.name, _moment(run))
            for run in found
        ],
    )  # fmt: skip


@trainings.command("show")
def show_training(
    training: TrainingArgument,
    grid: Annotated[
        Path | None, typer.Option("--grid", metavar="FILE", help="Save what it draws now (PNG).")
    ] = None,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one training: how far it is, its losses, its model, and why it failed if it did."""
    with connected(Whereabouts(server, data, api_key)) as client:
        found = client.trainings.get(training)
        if grid is not None:
            grid.write_bytes(client.trainings.file(found, "grid.png"))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    facts = [("architecture", found.architecture), ("dataset", found.dataset)]
    facts += [("model", found.model or f"{found.name}, not registered")]
    facts += [(name, f"{value}") for name, value in found.figures.items()]
    print_table(("", found.id), [*facts, *_facts(found)])


@trainings.command("cancel")
def cancel_training(
    training: TrainingArgument,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
) -> None:
    """Cancel a training; what it has learnt is discarded."""
    with connected(Whereabouts(server, data, api_key)) as client:
        _say_state(client.trainings.cancel(training))


@evaluations.command("list")
def list_evaluations(
    limit: LimitOption = 20,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the newest evaluations."""
    with connected(Whereabouts(server, data, api_key)) as client:
        found = list(client.evaluations.list(limit))
    if as_json:
        print_json([run.model_dump(mode="json") for run in found])
        return
    print_table(
        ("evaluation", "state", "done", "subject", "against", "verdict", "created (UTC)"),
        [
            (run.id, run.state.value, _done(run), _subject(run), run.against, run.verdict or "",
             _moment(run))
            for run in found
        ],
    )  # fmt: skip


@evaluations.command("show")
def show_evaluation(
    evaluation: EvaluationArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Save the report (HTML).")
    ] = None,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one evaluation: its verdict, how far it is, and why it failed if it did."""
    with connected(Whereabouts(server, data, api_key)) as client:
        found = client.evaluations.get(evaluation)
        if out is not None:
            out.write_bytes(client.evaluations.file(found, "report.html"))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    facts = [("subject", _subject(found)), ("against", found.against)]
    facts += [("verdict", found.verdict)] if found.verdict else []
    facts += [("warning", warning) for warning in found.warnings]
    print_table(("", found.id), [*facts, *_facts(found)])


@evaluations.command("cancel")
def cancel_evaluation(
    evaluation: EvaluationArgument,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
) -> None:
    """Cancel an evaluation; what it has measured is discarded."""
    with connected(Whereabouts(server, data, api_key)) as client:
        _say_state(client.evaluations.cancel(evaluation))


def followed(client: Client, calls: RunCalls[R], submit: Callable[[], R]) -> R:
    """Submit a run and show how far it is until it has succeeded; Ctrl-C cancels it.

    Raises RunFailedError, RunCancelledError.
    """
    run: R | None = None
    try:
        with run_reporter() as shown:
            run = submit()
            shown.run(run)
            if run.progress.stage == "waiting" and not client.workers():
                say("No worker is running, and the run waits for one: start `synthloom worker`.")
            return calls.wait(run, shown.run)
    except KeyboardInterrupt as interrupt:
        raise InterruptedByUserError(_cancelled(calls, run)) from interrupt


def _cancelled(calls: RunCalls[R], run: R | None) -> str:
    if run is None:
        return "Interrupted before anything was asked for."
    try:
        return f"Interrupted; {run.id} is {calls.cancel(run).state.value}."
    except ClientError as error:
        return f"Interrupted, but {run.id} could not be cancelled: {error}"


def _facts(run: Run) -> list[tuple[str, str]]:
    facts = [
        ("state", run.state.value),
        ("done", f"{_done(run)} {run.progress.stage}".strip()),
        ("progress", told(run.progress)),
        ("attempts", str(run.attempts)),
        ("created", run.created.isoformat()),
        ("started", run.started.isoformat() if run.started else "not yet"),
        ("finished", run.finished.isoformat() if run.finished else "not yet"),
    ]
    facts += [("warning", warning) for warning in run.progress.warnings]
    facts += webhook_facts(run.webhook)
    if run.problem is not None:
        facts.append(("problem", str(run.problem.get("detail") or run.problem.get("title"))))
    return facts


def _done(run: Run) -> str:
    if run.state.value == "succeeded":
        return "100 %"
    return "" if run.progress.done is None else f"{100 * run.progress.done:.0f} %"


def _subject(run: Evaluation) -> str:
    return str(run.subject.get("model") or run.subject.get("job") or run.subject.get("dataset"))


def _moment(run: Training | Evaluation) -> str:
    return f"{run.created.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _say_state(run: Run) -> None:
    stdout().print(plain(f"{run.id} is {run.state.value}."), soft_wrap=True)
