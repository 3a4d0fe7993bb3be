"""The real images that a command names: a dataset of the service, or a path that is brought there
once."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from app.cli.datasets import one_file
from app.cli.failures import CommandError, ExitCode
from app.cli.terminal import say
from app.client import Client

_CHUNK = 1 << 20


def dataset_for(client: Client, data: Path) -> str:
    """The id of the dataset. What the service has already is not sent again."""
    if not data.exists():
        return _known(client, str(data))
    with one_file(data) as file:
        digest = _sha256(file)
        for known in client.datasets():
            if known.file_sha256 == digest:
                return known.id
        name = _name(data, digest)
        found = client.upload_dataset(file, name=name)
    say(f"Uploaded {found.samples:,} images of {len(found.classes)} classes as {found.name}.")
    return found.id


def _known(client: Client, ref: str) -> str:
    for known in client.datasets():
        if ref in (known.id, known.name):
            return known.id
    raise CommandError(
        f"{ref} is neither a path on this machine nor a dataset of the service; synthloom datasets "
        "list shows those that there are.",
        ExitCode.USAGE,
    )


def _name(data: Path, digest: str) -> str:
    """Of a new dataset: that of the file, with a piece of its hash, as the service allows it."""
    stem = re.sub(r"[^a-z0-9._-]+", "-", data.resolve().stem.lower()).strip("._-")[:48]
    return f"{stem or 'images'}-{digest[:8]}"


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
