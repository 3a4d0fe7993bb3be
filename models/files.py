"""Names of a checkpoint's files, and how they are written and read. Imports no torch."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from models.classifier_spec import ClassifierSpec
from models.errors import CheckpointError
from models.spec import Frozen, ModelSpec

SPEC_FILE: Final = "spec.json"
WEIGHTS_FILE: Final = "weights.safetensors"
ONNX_FILE: Final = "model.onnx"
ONNX: Final = "onnx"
"""The architecture whose network is in its file."""
CLASSIFIER_FILE: Final = "classifier.json"
SPEC_BYTES_LIMIT: Final = 1 << 20

Document = TypeVar("Document", bound=Frozen)


def weights_file(spec: ModelSpec) -> str:
    """Name of the file that holds the model of `spec`, in its folder."""
    return ONNX_FILE if spec.architecture == ONNX else WEIGHTS_FILE


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path` whole or not at all: temporary file, fsync, rename, fsync folder."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """A rename is durable only once its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_spec(directory: Path) -> ModelSpec:
    """The spec of a generator's checkpoint folder."""
    return _read(directory, SPEC_FILE, ModelSpec)


def read_classifier_spec(directory: Path) -> ClassifierSpec:
    """The spec of a classifier's checkpoint folder."""
    return _read(directory, CLASSIFIER_FILE, ClassifierSpec)


def _read(directory: Path, name: str, kind: type[Document]) -> Document:
    path = directory / name
    try:
        if path.stat().st_size > SPEC_BYTES_LIMIT:
            raise CheckpointError(f"{name} is larger than {SPEC_BYTES_LIMIT} bytes")
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CheckpointError(
            f"{directory.name} has no readable {name} ({error.strerror}); "
            "name a folder that holds a checkpoint"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise CheckpointError(
            f"{name} of {directory.name} is no valid spec: {where}: {first['msg']}"
        ) from error
