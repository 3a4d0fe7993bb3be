"""From a stranger's file and an import spec to a checkpoint of ours. Imports no torch."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from models.declared.document import parse_options
from models.declared.import_spec import ImportSpec, TensorRules
from models.declared.mapping import match_tensors
from models.declared.remap import remap, tensors_of
from models.declared.walk import trace
from models.errors import SpecError
from models.files import ONNX, WEIGHTS_FILE
from models.importing.limits import Limits
from models.importing.onnx_file import inspect_onnx, try_onnx
from models.importing.sandbox import DEFAULT, convert
from models.onnx_binding import bind
from models.onnx_proposal import settled
from models.spec import ModelSpec, Weights

DECLARED = "declared"
_CHUNK = 1 << 20


class Assembled(NamedTuple):
    """A checkpoint that is complete but for its proof that it runs.

    weights: safetensors, or ONNX for an ONNX model. source: what the file was.
    """

    spec: ModelSpec
    weights: Path
    source: str


def assemble(path: Path, spec: ImportSpec, workdir: Path, limits: Limits = DEFAULT) -> Assembled:
    """Read the file in the sandbox, find each tensor that the spec's network wants, store them.

    What it writes is in `workdir`. Raises UnsupportedCheckpointError for the file, SpecError and
    TensorMatchError for the spec.
    """
    if spec.architecture == ONNX:
        return _onnx(path, spec, workdir, limits)
    if spec.architecture != DECLARED and _more_than_state(spec.tensors):
        raise SpecError(
            f"tensors of {spec.architecture} are found by their own names; only a declared "
            "network can have theirs mapped"
        )
    converted = convert(path, workdir, limits, spec.tensors.state)
    weights = workdir / f"ready-{WEIGHTS_FILE}"
    size = converted.weights.stat().st_size
    with converted.weights.open("rb") as file, weights.open("xb") as out:
        if spec.architecture == DECLARED:
            options = parse_options(spec.options)
            wanted = trace(options, spec.image, spec.latent_size, len(spec.classes)).tensors
            sources = match_tensors(wanted, tensors_of(file, size), spec.tensors)
            out.writelines(remap(file, size, sources))
        else:
            shutil.copyfileobj(file, out, _CHUNK)
    converted.weights.unlink()
    return Assembled(spec.model_spec(_weights(weights)), weights, converted.report.format)


def check_assembled(
    spec: ModelSpec, weights: Path, workdir: Path, limits: Limits = DEFAULT
) -> None:
    """Look at what an `assemble` elsewhere may have made, as far as it goes without a worker.

    weights: the file that `spec` names by its content. Raises UnsupportedCheckpointError for a
    graph, CheckpointError for a header, SpecError for the spec.
    """
    if spec.architecture == ONNX:
        bind(inspect_onnx(weights, workdir, limits), spec)
        try_onnx(weights, workdir, spec, limits)
        return
    with weights.open("rb") as file:
        found = tensors_of(file, spec.weights.bytes)
    if spec.architecture == DECLARED:
        network = trace(
            parse_options(spec.options), spec.image, spec.latent_size, len(spec.classes)
        )
        match_tensors(network.tensors, found, TensorRules(order="none"))


def _onnx(path: Path, spec: ImportSpec, workdir: Path, limits: Limits) -> Assembled:
    facts = inspect_onnx(path, workdir, limits)
    weights = workdir / "ready.onnx"
    shutil.copyfile(path, weights)
    made = spec.model_spec(_weights(weights))
    bind(facts, made)
    # The batch is stated with the model, so that no worker has to find it again.
    stated = settled(spec, try_onnx(path, workdir, made, limits))
    return Assembled(stated.model_spec(made.weights), weights, ONNX)


def _more_than_state(rules: TensorRules) -> bool:
    return bool(rules.names or rules.ignore)


def _weights(path: Path) -> Weights:
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    return Weights(sha256=digest.hexdigest(), bytes=path.stat().st_size)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
