"""An ONNX file of a stranger: inspected and run for the first time in a child."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import JsonValue, ValidationError

from models.importing.errors import Kind, UnsupportedCheckpointError
from models.importing.limits import Limits
from models.importing.sandbox import DEFAULT, run_in_sandbox
from models.onnx_graph import GraphFacts, OnnxTrial
from models.spec import ModelSpec

ONNX_BYTES: Final = 512 << 20
"""Address space of the `onnx` library, above that of Python and NumPy."""
ONNX_RUN_BYTES: Final = 2 << 30
"""The same of onnxruntime, and for the activations of a few images."""


def inspect_onnx(path: Path, workdir: Path, limits: Limits = DEFAULT) -> GraphFacts:
    """What an ONNX file is, found by the `onnx` library in a child; nothing stays in `workdir`.

    Raises UnsupportedCheckpointError.
    """
    unused = workdir / "onnx.empty"
    try:
        answer = run_in_sandbox("onnx", path, unused, {}, limits, imports_bytes=ONNX_BYTES)
        return GraphFacts.model_validate(answer.result)
    except ValidationError as error:
        raise UnsupportedCheckpointError(Kind.CRASHED, "its answer was malformed") from error
    finally:
        unused.unlink(missing_ok=True)


def try_onnx(path: Path, workdir: Path, spec: ModelSpec, limits: Limits = DEFAULT) -> OnnxTrial:
    """First runs of an ONNX graph by `spec`, in a child; nothing stays in `workdir`.

    Raises UnsupportedCheckpointError.
    """
    unused = workdir / "onnx.empty"
    options: dict[str, JsonValue] = {"spec": spec.model_dump(mode="json")}
    try:
        answer = run_in_sandbox(
            "onnx_trial", path, unused, options, limits, imports_bytes=ONNX_RUN_BYTES
        )
        return OnnxTrial.model_validate(answer.result)
    except ValidationError as error:
        raise UnsupportedCheckpointError(Kind.CRASHED, "its answer was malformed") from error
    finally:
        unused.unlink(missing_ok=True)
