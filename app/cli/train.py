"""`synthloom train` where a service runs: upload the images, follow the training, name the model.

The options are those of a training on this machine (`models.training.cli`), and those that say
which service does it instead.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, get_type_hints

import typer

from app.cli.connection import (
    KeyOption,
    ServerOption,
    WebhookOption,
    Whereabouts,
    connected,
    found,
)
from app.cli.failures import CommandError, ExitCode
from app.cli.real_data import dataset_for
from app.cli.runs import followed
from app.cli.terminal import plain, print_json, say, stdout
from app.client import Client
from app.client_runs import Training
from models.training.cli import Request, Runner, train_command, train_here
from models.training.config import TrainingConfig

DegenerateOption = Annotated[
    bool,
    typer.Option(
        "--accept-degenerate",
        help="Register the model although its images are not worth serving.",
    ),
]
DetachOption = Annotated[
    bool, typer.Option("--detach", help="Do not wait for the end; print the training's id.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="The training as JSON on stdout.")]

OF_THIS_MACHINE = ("version", "checkpoint_minutes", "keep", "threads", "device")
"""Options that the service decides itself."""


def with_service(command: Callable[[Runner], Callable[..., None]]) -> Callable[..., None]:
    """The command of `models.training.cli`, with the options of a service beside its own."""
    local = command(train_here)
    hints = get_type_hints(local, include_extras=True)
    own = [p.replace(annotation=hints[p.name]) for p in _parameters(local)]
    added = [p for p in _parameters(_service_options) if p.name != "request"]

    def train(**given: Any) -> None:
        options = {p.name: given.pop(p.name) for p in added}
        command(partial(_run, **options))(**given)

    parameters = [*own, *added]
    train.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    train.__annotations__ = {p.name: p.annotation for p in parameters}
    train.__doc__ = (
        f"{local.__doc__}\n\nThe service at --server trains, or the one that runs on this machine; "
        "without one, or with --out, this command does it itself. Ctrl-C cancels the training."
    )
    return train


def _service_options(
    request: Request,
    server: ServerOption = None,
    api_key: KeyOption = None,
    accept_degenerate: DegenerateOption = False,
    webhook: WebhookOption = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Only its signature is used: that of `_run`."""


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function, eval_str=True).parameters.values())


def _run(
    request: Request,
    server: str | None,
    api_key: str | None,
    accept_degenerate: bool,
    webhook: str | None,
    detach: bool,
    as_json: bool,
) -> None:
    where = Whereabouts(server, None, api_key)
    here = request.out is not None or request.tensorboard is not None
    of_a_service = [name for name, given in (("--server", server), ("--webhook", webhook)) if given]
    if here and of_a_service:
        raise CommandError(
            f"--out and --tensorboard are for a training on this machine, {of_a_service[0]} for "
            "one by a service: leave one of them out.",
            ExitCode.USAGE,
        )
    if here or (server is None and webhook is None and found(where) is None):
        if not here:
            say(f"No service is running, so this command trains itself, in {request.folder}.")
        train_here(request)
        return
    _refuse_local_options(request.config)
    with connected(where) as client:
        body = asked(request.config, accept_degenerate, webhook)
        training = _trained(client, request, body, detach)
    if as_json:
        print_json(training.model_dump(mode="json"))
    else:
        stdout().print(plain(summary(training)), soft_wrap=True)


def _trained(client: Client, request: Request, body: dict[str, Any], detach: bool) -> Training:
    body = body | {"dataset": dataset_for(client, request.data)}
    submit = partial(client.trainings.submit, body)
    return submit() if detach else followed(client, client.trainings, submit)


def asked(
    config: TrainingConfig, accept_degenerate: bool, webhook: str | None = None
) -> dict[str, Any]:
    """The request of a service for a configuration, but for its dataset."""
    size = config.preprocessing.model_dump(mode="json") if config.preprocessing else None
    body = {
        "architecture": config.architecture,
        "name": config.name,
        "licence": config.licence,
        "description": config.description,
        "conditional": config.conditional,
        "recipe": config.settings,
        "options": config.options,
        "size": size,
        "split": config.split,
        "validation": config.validation,
        "seed": config.seed,
        "steps": config.steps,
        "epochs": config.epochs,
        "minutes": config.minutes,
        "snapshot_steps": config.snapshot_steps,
        "snapshot_minutes": config.snapshot_minutes,
        "patience": config.patience or 0,
        "accept_degenerate": accept_degenerate,
        "webhook": {"url": webhook} if webhook else None,
    }
    document: dict[str, Any] = json.loads(json.dumps(body))
    return {name: value for name, value in document.items() if value is not None}


def summary(training: Training) -> str:
    """What came of it, and what to do next."""
    if training.model is None:
        return f"{training.id} is {training.state.value}; synthloom trainings show {training.id}"
    figures = [f"{name.removeprefix('validation_')} {value}" for name, value in
               training.figures.items() if isinstance(value, int | float)]  # fmt: skip
    said = f" On its validation images: {', '.join(figures)}." if figures else ""
    return (
        f"{training.model} is registered, SHA-256 {training.model_sha256}.{said} "
        f"Next: synthloom generate {training.model} --out FOLDER"
    )


def _refuse_local_options(config: TrainingConfig) -> None:
    defaults = TrainingConfig.model_fields
    given = [name for name in OF_THIS_MACHINE if getattr(config, name) != defaults[name].default]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise CommandError(
            f"{option} is for a training on this machine: a service has its own settings, and "
            "gives a model its next version. Leave it out, or name a folder with --out to train "
            "here.",
            ExitCode.USAGE,
        )


train = with_service(train_command)
