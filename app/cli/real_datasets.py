"""Real datasets in the options of `generate`: uploaded ones, or paths that are uploaded first."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from app.cli.datasets import one_file
from app.cli.terminal import say
from app.client import Client
from app.client_errors import ConflictError, NotFoundError
from app.client_types import JobRequest

MergeOption = Annotated[
    str | None,
    typer.Option(
        "--merge",
        metavar="DATASET",
        help="Put the images of this dataset beside the samples: one that was uploaded, or a path.",
    ),
]


def add_merge(request: JobRequest, merge: str | None) -> None:
    """Ask for it."""
    if merge is not None:
        request["merge_with"] = merge


def bring(client: Client, request: JobRequest) -> None:
    """Upload what the request names by its path; from then on it names the id."""
    balance, checks = request.get("balance", {}), request.get("checks", {})
    copies = checks.get("copies", {})
    known: dict[str, str] = {}
    for ref in (request.get("merge_with"), balance.get("dataset"), copies.get("dataset")):
        if ref is not None and ref not in known and Path(ref).exists():
            known[ref] = _id_of(client, ref)
    if "merge_with" in request:
        request["merge_with"] = known.get(request["merge_with"], request["merge_with"])
    if balance.get("dataset") in known:
        request["balance"] = {**balance, "dataset": known[balance["dataset"]]}
    if copies.get("dataset") in known:
        copied = {**copies, "dataset": known[copies["dataset"]]}
        request["checks"] = {**checks, "copies": copied}


def _id_of(client: Client, ref: str) -> str:
    """Of the dataset with this name, if there is one; else of the path, which is uploaded."""
    if "/" not in ref:
        with suppress(NotFoundError):
            return client.dataset(ref).id
    return _uploaded(client, Path(ref))


def _uploaded(client: Client, path: Path) -> str:
    with one_file(path) as file:
        name = name_of(path)
        try:
            found = client.upload_dataset(file, name=name)
        except ConflictError:  # the name belongs to other content
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            found = client.upload_dataset(file, name=f"{name[:55]}-{digest[:8]}")
    say(f"{path} is {found.id}, {found.name}: {found.samples:,} images.")
    return found.id


def name_of(path: Path) -> str:
    """A dataset's name, from that of a file or folder."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", path.resolve().stem.lower()).strip("-._")
    return plain.removeprefix("ds_")[:64] or "dataset"
