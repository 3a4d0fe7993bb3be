"""`synthloom.lock.json`: which recipe a folder holds the result of, and what that was."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict

LOCK_FILE = "synthloom.lock.json"


class LockedDataset(BaseModel):
    """One format of the dataset: its archive, and the folder that it was unpacked to."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    archive_bytes: int
    archive_sha256: str
    sums_sha256: str
    """Of `SHA256SUMS` in the folder, which lists every other file."""


class Lock(BaseModel):
    """What came of a recipe. Holds no time and no address: equal results, equal locks."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal["synthloom-lock/1"] = "synthloom-lock/1"
    recipe_sha256: str
    pinned: Mapping[str, str]
    """What the recipe names → SHA-256 of its content."""
    job: str
    key: str
    """The idempotency key under which the service knows the job."""
    outcome: Literal["succeeded", "gate-failed"]
    detail: str = ""
    """Of a gate that was not passed: why."""
    seed: int
    samples_per_class: Mapping[str, int]
    datasets: Mapping[str, LockedDataset] = {}
    """By format, which is also the name of the folder."""
    files: Mapping[str, str] = {}
    """File beside the folders → its SHA-256."""

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The lock of a folder; None where there is none that can be read."""
        try:
            return cls.model_validate_json((folder / LOCK_FILE).read_bytes())
        except (OSError, pydantic.ValidationError):
            return None

    def write(self, folder: Path) -> None:
        """Put it in place, whole or not at all."""
        part = folder / f".{LOCK_FILE}.part"
        with part.open("w", encoding="utf-8") as file:
            file.write(self.model_dump_json(indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / LOCK_FILE)
