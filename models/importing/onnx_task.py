"""The task of the sandbox for ONNX: parsed and checked in the child, facts come back."""

from __future__ import annotations

from typing import Any, BinaryIO

from models.errors import CheckpointError
from models.importing.errors import Kind, UnsupportedCheckpointError
from models.onnx_inspection import inspect


def run(source: BinaryIO, output: BinaryIO, options: dict[str, Any]) -> dict[str, Any]:
    """The facts of the graph, as JSON; the file itself stays what it is, so nothing is written."""
    source.seek(0)
    try:
        return inspect(source.read(options["size"])).model_dump(mode="json")
    except CheckpointError as error:
        reason = str(error).removeprefix("this ONNX file can't be used: ")
        raise UnsupportedCheckpointError(Kind.ONNX, reason.partition(". To export")[0]) from error
