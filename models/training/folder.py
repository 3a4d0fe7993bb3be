"""The folder of a run: which run lives in it, so that no other goes on there. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from models.errors import TrainingError
from models.files import write_atomically
from models.spec import Frozen, Sha256
from models.training.config import TrainingConfig

RUN_FILE: Final = "run.json"
STATE_FILE: Final = "state.safetensors"
GOOD_FILE: Final = "good.safetensors"
"""The state at the last snapshot whose images were numbers."""

LASTING: Final = (
    "architecture", "conditional", "options", "settings", "seed", "preprocessing", "split",
    "validation",
)  # fmt: skip
"""What decides what a step learns; the rest (name, time, threads, what is kept) may change."""


class RunDocument(Frozen):
    """config of the run, and the SHA-256 of all images that it was given."""

    config: TrainingConfig
    data_sha256: Sha256


def claim(directory: Path, config: TrainingConfig, data_sha256: str) -> None:
    """Make `directory` the folder of this run, or find that it is. Raises TrainingError."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / RUN_FILE
    document = RunDocument(config=config, data_sha256=data_sha256)
    if path.exists():
        _compare(_read(path), document, directory)
    write_atomically(path, (document.model_dump_json(indent=2) + "\n").encode())


def _read(path: Path) -> RunDocument:
    try:
        return RunDocument.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise TrainingError(
            f"{path} is not of this version of Synthloom; take another folder"
        ) from error


def _compare(there: RunDocument, here: RunDocument, directory: Path) -> None:
    old = there.config.model_dump(mode="json") | {"images": there.data_sha256[:12]}
    new = here.config.model_dump(mode="json") | {"images": here.data_sha256[:12]}
    for name in (*LASTING, "images"):
        if old[name] != new[name]:
            raise TrainingError(
                f"{directory} holds another run: its {name} is {old[name]!r}, not {new[name]!r}. "
                "Take another folder, or go on with what it was"
            )
