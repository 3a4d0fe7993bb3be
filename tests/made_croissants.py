"""Croissant documents of archives that were just made, and MLCommons' own library to read them."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

from app.datasets.croissant import File, Story
from app.datasets.exports.formats import RENDERINGS
from app.datasets.exports.parquet_dataset import DataFile

BEGAN = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
ENDED = datetime(2026, 3, 1, 12, 1, 7, tzinfo=UTC)


def story(
    archives: Mapping[str, bytes], licence: str = "Apache-2.0", parts: Sequence[DataFile] = ()
) -> Story:
    """Of a job whose archives these are, by their format. parts: the Parquet files."""
    # Another address each time: the library keeps what it unpacks by its address.
    url = f"http://localhost:8765/v1/jobs/{secrets.token_hex(8)}"
    return Story(
        job="job_1",
        url=url,
        software="Synthloom 0.1.0",
        began=BEGAN,
        ended=ENDED,
        files=[
            File(
                name,
                f"{url}/archives/{name}",
                hashlib.sha256(file).hexdigest(),
                len(file),
                parts if name == "parquet" else (),
            )
            for name, file in archives.items()
        ],
        licences=[licence],
        biases=["label_agreement: 0.97, measured on 200 samples."],
        limitations=["Good enough."],
    )


def load(document: Mapping[str, Any], archives: Mapping[str, bytes], folder: Path) -> Any:
    """The `mlcroissant.Dataset`, with its archives downloaded."""
    with mock.patch.dict(os.environ, {"CROISSANT_CACHE": str(folder / "cache")}):
        import mlcroissant  # reads it at its import

    (folder / "croissant.json").write_text(json.dumps(document))
    mapping = {}
    for name, archive in archives.items():
        path = folder / f"{name}.{RENDERINGS[name].extension}"
        path.write_bytes(archive)
        mapping[path.name] = str(path)
    return mlcroissant.Dataset(str(folder / "croissant.json"), mapping=mapping)
