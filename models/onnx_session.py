"""onnxruntime, set up to give the same numbers again, and its errors as ours.

https://onnxruntime.ai/docs/api/python/api_summary.html
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as native

from models.errors import CheckpointError, InferenceError, RuntimeMemoryError

log = logging.getLogger(__name__)

Arrays = Mapping[str, npt.NDArray[Any]]

FAILURES = (
    native.EPFail,
    native.Fail,
    native.InvalidArgument,
    native.InvalidGraph,
    native.InvalidProtobuf,
    native.NotImplemented,
    native.RuntimeException,
)
"""What onnxruntime raises for a graph or an input; they have no ancestor of their own."""
OUT_OF_MEMORY = ("Failed to allocate memory", "bad allocation", "bad_alloc", "out of memory")


class Session:
    """One loaded graph. Safe to run from one thread at a time."""

    def __init__(self, content: bytes, threads: int, cuda_device: int | None) -> None:
        """Load an inspected graph. Raises CheckpointError when onnxruntime refuses it.

        cuda_device: index of the GPU to compute on; None for the processor.
        """
        options, providers = _options(threads), _providers(cuda_device)
        try:
            self._session = ort.InferenceSession(content, options, providers=providers)
        except FAILURES as error:
            raise CheckpointError(f"onnxruntime does not load the graph: {_line(error)}") from error

    @property
    def providers(self) -> list[str]:
        """Execution providers in use, the preferred one first."""
        names: list[str] = self._session.get_providers()
        return names

    def run(self, output: str, inputs: Arrays) -> npt.NDArray[Any]:
        """The one output of that name. Raises InferenceError, for short memory a kind of it."""
        try:
            (array,) = self._session.run([output], dict(inputs))
        except FAILURES as error:
            if any(words in str(error) for words in OUT_OF_MEMORY):
                raise RuntimeMemoryError(_line(error)) from error
            raise InferenceError(f"the graph does not run: {_line(error)}") from error
        return np.asarray(array)


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    # Its arena keeps the largest activations for ever, 1.5 GiB more for a network of 50 MB at 256
    # images a run, and was not faster.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4  # fatal; what fails is raised, and once is enough
    # Threads that spin between batches would take the encoders' processors.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _providers(cuda_device: int | None) -> list[Any]:
    """CUDA where it is asked for and this build of onnxruntime has it; else the processor."""
    if cuda_device is None:
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        log.warning("onnxruntime has no CUDA provider, so ONNX models run on the processor")
        return ["CPUExecutionProvider"]
    cuda = {
        "device_id": cuda_device,
        "use_tf32": 0,
        "cudnn_conv_algo_search": "HEURISTIC",  # a search by time may choose otherwise next time
    }
    return [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300]
