"""The task of the sandbox that runs an ONNX graph for the first time."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy.random  # noqa: F401 - NumPy loads it at first use, when no file can be opened any more

from models.errors import ModelError, RuntimeMemoryError
from models.importing.errors import Kind, UnsupportedCheckpointError
from models.onnx_trial import try_out
from models.spec import ModelSpec


def run(source: BinaryIO, output: BinaryIO, options: dict[str, Any]) -> dict[str, Any]:
    """Options: "size", "spec" (a ModelSpec as JSON). Gives an `OnnxTrial` as JSON."""
    source.seek(0)
    try:
        spec = ModelSpec.model_validate(options["spec"])
        return try_out(spec, source.read(options["size"])).model_dump(mode="json")
    except RuntimeMemoryError as error:
        raise MemoryError from error
    except ModelError as error:
        raise UnsupportedCheckpointError(Kind.ONNX, str(error)) from error
