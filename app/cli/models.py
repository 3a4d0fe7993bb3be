"""`synthloom models`: what can be sampled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.classifiers import list_classifiers
from app.cli.connection import DataOption, KeyOption, ServerOption, Whereabouts, connected
from app.cli.model_import import import_model
from app.cli.model_versions import choose_default, delete_model, export_model, list_versions
from app.cli.terminal import plain, print_json, print_table, stdout
from app.client_types import Model

models = typer.Typer(
    no_args_is_help=True, help="Look at the models of the service, bring and remove them."
)

models.command("import")(import_model)
models.command("versions")(list_versions)
models.command("default")(choose_default)
models.command("delete")(delete_model)
models.command("export")(export_model)
models.command("classifiers")(list_classifiers)

NameArgument = Annotated[str, typer.Argument(metavar="MODEL", help="NAME or NAME@VERSION.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")]


@models.command("list")
def list_models(
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all models."""
    with connected(Whereabouts(server, data, api_key)) as client:
        found = client.models()
    if as_json:
        print_json([model.model_dump(mode="json", exclude={"spec"}) for model in found])
        return
    print_table(
        ("model", "family", "asked by", "classes", "image", "licence", "description"),
        [_row(model) for model in found],
    )


@models.command("show")
def show_model(
    model: NameArgument,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one model: its classes, its figures, its hash."""
    with connected(Whereabouts(server, data, api_key)) as client:
        found = client.model(model)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    print_table(("", found.reference), _facts(found))


@models.command("preview")
def preview(
    model: NameArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="PNG to write; MODEL.png if left out."),
    ] = None,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
) -> None:
    """Save a contact sheet of the model, one class a row."""
    with connected(Whereabouts(server, data, api_key)) as client:
        png = client.preview(model)
    target = out or Path(f"{model}.png".replace("/", "_"))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(png)
    stdout().print(plain(f"The contact sheet is {target}."), soft_wrap=True)


def _row(model: Model) -> tuple[object, ...]:
    return (
        model.reference,
        model.family,
        _asked_by(model),
        len(model.classes),
        _image(model),
        model.licence,
        model.description if not model.warnings else "DEGENERATE: see `models show`",
    )


def _facts(model: Model) -> list[tuple[str, str]]:
    facts = [
        ("description", model.description),
        ("family", f"{model.family} ({model.architecture}), {model.latent_size} latents"),
        ("asked by", _asked_by(model)),
        ("classes", ", ".join(model.classes) or "none"),
        ("image", _image(model)),
        ("licence", model.licence),
        ("default", "yes" if model.default else f"no: {model.name} alone means another version"),
        ("sha256", model.sha256),
        *(("warning", warning) for warning in model.warnings),
    ]
    figures = [(name.replace("_", " "), _figure(value)) for name, value in model.figures.items()]
    return facts + figures


def _asked_by(model: Model) -> str:
    return "class" if model.conditioning == "class" else "number of samples"


def _image(model: Model) -> str:
    return f"{model.image.width} x {model.image.height} x {model.image.channels}"


def _figure(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
