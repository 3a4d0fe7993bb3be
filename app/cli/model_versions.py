"""`synthloom models versions`, `default`, `delete`, `export`: what becomes of a model later."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.connection import DataOption, KeyOption, ServerOption, Whereabouts, connected
from app.cli.failures import CommandError, ExitCode
from app.cli.progress import reporter
from app.cli.terminal import plain, print_json, print_table, stdout
from app.client_types import ModelVersions

VersionArgument = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The version meant.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")]


def list_versions(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Without a version.")],
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the versions of a model, the newest first."""
    with connected(Whereabouts(server, data, api_key)) as client:
        found = client.versions(name)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    print_table(
        ("model", "default", "created (UTC)", "sha256", "description"),
        [
            (
                model.reference,
                _default(found) if model.version == found.default else "",
                f"{model.created:%Y-%m-%d %H:%M:%S}" if model.created else "",
                model.sha256[:16],
                model.description,
            )
            for model in found.versions
        ],
    )


def choose_default(
    model: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="What NAME shall mean.")],
    newest: Annotated[
        bool, typer.Option("--newest", help="NAME means its newest version again, whichever it is.")
    ] = False,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
) -> None:
    """Choose the version that a name without one means."""
    name, _, version = model.partition("@")
    if bool(version) == newest:
        raise CommandError(
            f"Name a version, {name}@VERSION, or give {name} and --newest.", ExitCode.USAGE
        )
    with connected(Whereabouts(server, data, api_key)) as client:
        found = client.choose_version(name, version or None)
    why = "from now on" if found.chosen else "as long as that is the newest"
    stdout().print(plain(f"{name} means {name}@{found.default} {why}."), soft_wrap=True)


def delete_model(
    model: VersionArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
) -> None:
    """Delete a version of a model; refused while a job needs it. Finished datasets stay."""
    with connected(Whereabouts(server, data, api_key)) as client:
        if not yes:
            _ask(client.model(model).reference)
        client.delete_model(model)
    stdout().print(plain(f"{model} is deleted."), soft_wrap=True)


def export_model(
    model: VersionArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="NAME-VERSION.zip if left out."),
    ] = None,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
) -> None:
    """Write a model to one file, which `models import` of another service takes as it is."""
    with connected(Whereabouts(server, data, api_key)) as client, reporter() as shown:
        found = client.model(model)
        target = out or Path(f"{found.name}-{found.version}.zip")
        written = client.export_model(found.reference, target, shown.received)
    stdout().print(
        plain(
            f"{written.path} has {written.bytes:,} bytes and holds {found.reference}, SHA-256 "
            f"{found.sha256}. Elsewhere: synthloom models import {written.path}"
        ),
        soft_wrap=True,
    )


def _default(found: ModelVersions) -> str:
    return "chosen" if found.chosen else "newest"


def _ask(reference: str) -> None:
    if not sys.stdin.isatty():
        raise CommandError(f"To delete {reference}, add --yes.", ExitCode.USAGE)
    if not typer.confirm(f"Delete {reference} and its weights?", err=True):
        raise CommandError("Nothing was deleted.")
