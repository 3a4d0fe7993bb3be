"""`synthloom evaluate --server`: the service measures, and this command fetches the report."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

from app.cli import evaluate as here
from app.cli.connection import KeyOption, ServerOption, WebhookOption, Whereabouts, connected
from app.cli.failures import CommandError, ExitCode
from app.cli.real_data import dataset_for
from app.cli.runs import followed
from app.cli.terminal import plain, say, stdout
from app.client import Client
from app.client_errors import RunFailedError
from app.client_runs import Evaluation

OF_THIS_MACHINE = ("weights", "threads", "folder")
"""Options that the service decides itself."""
JOB_PREFIX, DATASET_PREFIX = "job_", "ds_"


def or_by_service(local: Callable[..., None]) -> Callable[..., None]:
    """The command, with `--server`, `--api-key` and `--webhook` beside its own options."""
    hints = get_type_hints(local, include_extras=True)
    signature = inspect.signature(local)
    own = [p.replace(annotation=hints[p.name]) for p in signature.parameters.values()]
    added = list(inspect.signature(_service_options, eval_str=True).parameters.values())

    def evaluate(**given: Any) -> None:
        where = Whereabouts(given.pop("server"), None, given.pop("api_key"))
        webhook = given.pop("webhook")
        if where.server is None:
            _refuse_webhook(webhook)
            local(**given)
            return
        _refuse_local_options(given, {p.name: p.default for p in own})
        with connected(where) as client:
            _measured(client, webhook=webhook, **given)

    parameters = [*own, *added]
    evaluate.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    evaluate.__annotations__ = {p.name: p.annotation for p in parameters}
    evaluate.__doc__ = (
        f"{local.__doc__}\n\nWith --server, a service does it: its models, its jobs (job_…), its "
        "datasets (ds_…) and images of this machine, which are brought there once."
    )
    return evaluate


def _service_options(
    server: ServerOption = None, api_key: KeyOption = None, webhook: WebhookOption = None
) -> None:
    """Only its signature is used."""


def _measured(client: Client, *, out: Path | None, json_out: Path | None, **asked: Any) -> None:
    submit = partial(client.evaluations.submit, _request(client, **asked))
    failure: RunFailedError | None = None
    try:
        found = followed(client, client.evaluations, submit)
    except RunFailedError as error:
        if not isinstance(error.run, Evaluation) or error.run.gate is None:
            raise
        found, failure = error.run, error  # the gate is not passed, and the report is there
    stdout().print(plain(found.verdict or ""), soft_wrap=True)
    for warning in found.warnings:
        stdout().print(plain(f"Note: {warning}"), soft_wrap=True)
    for target, name in ((out, "report.html"), (json_out, "report.json")):
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(client.evaluations.file(found, name))
            say(f"Written: {target}")
    say(f"The evaluation is {found.id}: synthloom evaluations show {found.id} --out FILE")
    if failure is not None:
        raise CommandError(str(failure), ExitCode.GATE) from failure


def _request(
    client: Client,
    *,
    subject: str,
    against: Path,
    samples_per_class: int,
    backbone: str,
    lift: bool,
    minutes: float | None,
    gate: list[str] | None,
    seed: int,
    webhook: str | None,
    **_: Any,
) -> dict[str, Any]:
    options = {"lift": lift, "backbone": backbone, "seed": seed, "minutes": minutes}
    return {
        "subject": _subject(client, subject, samples_per_class, seed),
        "against": dataset_for(client, against),
        "options": {name: value for name, value in options.items() if value is not None},
        "gate": gate or [],
        "webhook": {"url": webhook} if webhook else None,
    }


def _subject(client: Client, subject: str, samples_per_class: int, seed: int) -> dict[str, Any]:
    if Path(subject).exists() or subject.startswith(DATASET_PREFIX):
        return {"dataset": dataset_for(client, Path(subject))}
    if subject.startswith(JOB_PREFIX):
        return {"job": subject}
    return {"model": subject, "samples_per_class": samples_per_class, "seed": seed}


def _refuse_webhook(webhook: str | None) -> None:
    if webhook is not None:
        raise CommandError(
            "--webhook is for an evaluation by a service: name it with --server, or leave "
            "--webhook out.",
            ExitCode.USAGE,
        )


def _refuse_local_options(given: dict[str, Any], defaults: dict[str, Any]) -> None:
    for name in OF_THIS_MACHINE:
        if given[name] != defaults[name]:
            raise CommandError(
                f"--{name} is for an evaluation on this machine; leave out --server, or --{name}.",
                ExitCode.USAGE,
            )


evaluate = or_by_service(here.evaluate)
