"""`synthloom datasets`: real images, brought to the service."""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from app.cli.connection import DataOption, KeyOption, ServerOption, Whereabouts, connected
from app.cli.failures import CommandError, ExitCode
from app.cli.terminal import plain, print_json, print_table, stdout
from app.client_types import Dataset

datasets = typer.Typer(no_args_is_help=True, help="Bring real datasets, look at them, remove them.")

DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help="Its name or id.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")]


@datasets.command("upload")
def upload(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", exists=True,
            help="A folder or zip of class folders, a Hugging Face ImageFolder, IDX files, tar "
            "files of a WebDataset, an npz or a Parquet file.",
        ),
    ],
    name: Annotated[str, typer.Option(help="What it is called from now on.")],
    licence: Annotated[str, typer.Option(help="Of the images.")] = "",
    attribution: Annotated[str, typer.Option(help="Whom to name, and where they come from.")] = "",
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Bring a dataset: every image is looked at, and what can't be used is refused."""
    with connected(Whereabouts(server, data, api_key)) as client, one_file(path) as file:
        found = client.upload_dataset(file, name=name, licence=licence, attribution=attribution)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    called = "" if found.name == name else f" It was there already, as {found.name}."
    stdout().print(
        plain(
            f"{found.id} is {found.name}: {found.samples:,} images of {len(found.classes)} "
            f"classes, SHA-256 {found.sha256}.{called}"
        ),
        soft_wrap=True,
    )


@datasets.command("list")
def list_datasets(
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all datasets."""
    with connected(Whereabouts(server, data, api_key)) as client:
        found = client.datasets()
    if as_json:
        print_json([dataset.model_dump(mode="json") for dataset in found])
        return
    print_table(
        ("dataset", "name", "format", "images", "classes", "splits", "size", "licence"),
        [
            (
                dataset.id,
                dataset.name,
                dataset.kind,
                dataset.samples,
                len(dataset.classes),
                ", ".join(dataset.counts),
                dataset.image.shown,
                dataset.licence,
            )
            for dataset in found
        ],
    )


@datasets.command("show")
def show(
    dataset: DatasetArgument,
    preview: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Save a contact sheet (PNG), one class a row."),
    ] = None,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one dataset: what it is, and how many images of each class it has."""
    with connected(Whereabouts(server, data, api_key)) as client:
        found = client.dataset(dataset)
        if preview is not None:
            preview.parent.mkdir(parents=True, exist_ok=True)
            preview.write_bytes(client.dataset_preview(dataset))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    print_table(("", found.name), _facts(found))
    stdout().print()
    print_table(("class", *found.counts), _rows(found), last_is_total=True)


@datasets.command("delete")
def delete(
    dataset: DatasetArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
) -> None:
    """Delete a dataset; refused while something that has not ended needs it."""
    with connected(Whereabouts(server, data, api_key)) as client:
        found = client.dataset(dataset)
        if not yes:
            _ask(found)
        client.delete_dataset(found.id)
    stdout().print(plain(f"{found.name} ({found.id}) is deleted."), soft_wrap=True)


def _facts(found: Dataset) -> list[tuple[str, str]]:
    facts = [
        ("id", found.id),
        ("format", found.kind),
        ("images", f"{found.samples:,}"),
        ("size", found.image.shown),
        ("groups", ", ".join(f"{name}: {count:,}" for name, count in found.groups.items())),
        ("licence", found.licence),
        ("attribution", found.attribution),
        ("other files", str(found.ignored) if found.ignored else ""),
        ("sha256", found.sha256),
    ]
    return [(name, text) for name, text in facts if text]


def _rows(found: Dataset) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        (name, *(counts[name] for counts in found.counts.values())) for name in found.classes
    ]
    return [*rows, ("total", *(sum(counts.values()) for counts in found.counts.values()))]


@contextmanager
def one_file(path: Path) -> Iterator[Path]:
    """The file itself; of a folder a zip, for as long as it is needed."""
    if not path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="synthloom-") as folder:
        packed = Path(folder) / f"{path.resolve().name}.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    # Without times, so that the same images are the same file, and sent once.
                    member = zipfile.ZipInfo(file.relative_to(path).as_posix())
                    member.file_size = file.stat().st_size
                    with file.open("rb") as source, archive.open(member, "w") as target:
                        shutil.copyfileobj(source, target)
        yield packed


def _ask(found: Dataset) -> None:
    if not sys.stdin.isatty():
        raise CommandError(f"To delete {found.name}, add --yes.", ExitCode.USAGE)
    if not typer.confirm(f"Delete {found.name} and its {found.samples:,} images?", err=True):
        raise CommandError("Nothing was deleted.")
