"""A checkpoint: a folder with spec.json and weights.safetensors, or model.onnx. Data, never code.

Saving is atomic file by file, weights first: a folder whose spec.json exists is complete.
Loading is strict: the digest, then the header, then name, shape and type of every tensor are
compared before the network is given memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor, nn

from models.classifier import Classifier
from models.classifier_spec import ClassifierSpec
from models.errors import CheckpointError
from models.files import CLASSIFIER_FILE, ONNX, SPEC_FILE, WEIGHTS_FILE, write_atomically
from models.generator import Generator
from models.header import read_header
from models.registry import build
from models.spec import ModelSpec, Weights

STORED_DTYPES: Mapping[str, torch.dtype] = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
"""What floating tensors of a file may be; all are computed in float32."""


def save(
    directory: Path, spec: ModelSpec, generator: nn.Module, dtype: torch.dtype = torch.float32
) -> ModelSpec:
    """Write the generator as a checkpoint and give back `spec` with its weights filled in.

    Floating tensors are stored as `dtype`. A value that overflows it is refused.
    """
    weights = _save_weights(directory, generator, dtype)
    saved = spec.model_copy(update={"weights": weights})
    write_atomically(directory / SPEC_FILE, saved.to_json().encode())
    return saved


def save_classifier(
    directory: Path, spec: ClassifierSpec, classifier: Classifier, dtype: torch.dtype
) -> ClassifierSpec:
    """The same for a classifier, whose spec is classifier.json."""
    weights = _save_weights(directory, classifier, dtype)
    saved = spec.model_copy(update={"weights": weights})
    write_atomically(directory / CLASSIFIER_FILE, saved.to_json().encode())
    return saved


def _save_weights(directory: Path, module: nn.Module, dtype: torch.dtype) -> Weights:
    content = dump_weights(module, dtype)
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / WEIGHTS_FILE, content)
    return Weights(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def dump_weights(module: nn.Module, dtype: torch.dtype) -> bytes:
    """A safetensors file of the state of `module`, floats as `dtype`; equal state, equal bytes."""
    state = {name: _stored(tensor, dtype) for name, tensor in module.state_dict().items()}
    for name, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"tensor {name} is not finite as {dtype}; nothing was written")
    return dump_tensors(dict(sorted(state.items())))


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    kept = tensor.detach().cpu()
    return (kept.to(dtype) if kept.is_floating_point() else kept).contiguous()


def load(spec: ModelSpec, weights_path: Path, device: torch.device | str = "cpu") -> Generator:
    """The generator of `spec` with the weights of that file, in eval mode, on `device`."""
    content = read_weights(weights_path, spec.weights)
    if spec.architecture == ONNX:
        from models.onnx_generator import OnnxGenerator  # another runtime, only where it is used

        return OnnxGenerator(spec, content, torch.device(device)).eval()
    with torch.device("meta"):  # shapes without memory: a hostile spec allocates nothing
        generator = build(spec)
    fill(generator, content)
    # Channels innermost: convolutions of a batch of 256 take a third less time on a processor.
    return generator.to(device).to(memory_format=torch.channels_last).eval()


def load_classifier(
    spec: ClassifierSpec, weights_path: Path, device: torch.device | str = "cpu"
) -> Classifier:
    """The classifier of `spec` with the weights of that file, in eval mode, on `device`."""
    content = read_weights(weights_path, spec.weights)
    with torch.device("meta"):
        classifier = Classifier(spec.image, len(spec.classes))
    fill(classifier, content)
    return classifier.to(device).eval()


def read_weights(path: Path, weights: Weights) -> bytes:
    """The file's bytes, if they are the ones the spec names."""
    try:
        size = path.stat().st_size
        if size != weights.bytes:
            raise CheckpointError(
                f"{path.name} has {size} bytes where the spec says {weights.bytes}; "
                "copy or download the file again"
            )
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path.name} cannot be read ({error.strerror}); check that it is beside the spec"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != weights.sha256:
        raise CheckpointError(
            f"{path.name} has SHA-256 {digest} where the spec says {weights.sha256}; "
            "copy or download the file again"
        )
    return content


def fill(module: nn.Module, content: bytes) -> None:
    """Give a module made on the meta device memory, and the tensors of `content`, in float32.

    Tensors that a generator can derive may be missing.
    """
    wanted = module.state_dict()
    derived = module.derived if isinstance(module, Generator) else frozenset()
    missing = _check_tensors(wanted, content, derived)
    try:
        tensors = load_tensors(content)
    except SafetensorError as error:
        raise CheckpointError(
            f"the weights are no valid safetensors file ({error}); save or download them again"
        ) from error
    state = {
        name: tensors[name].to(tensor.dtype)
        for name, tensor in wanted.items()
        if name not in missing
    }
    module.load_state_dict(state, strict=not missing, assign=True)
    if missing and isinstance(module, Generator):
        module.derive(missing)


def _check_tensors(
    wanted: Mapping[str, Tensor], content: bytes, derived: frozenset[str]
) -> frozenset[str]:
    """The names of `derived` that the file lacks; everything else has to be there."""
    found = read_header(content)
    absent = frozenset(wanted.keys() - found.keys())
    missing, extra = sorted(absent - derived), sorted(found.keys() - wanted.keys())
    if missing or extra:
        raise CheckpointError(
            f"the weights lack {_some(missing)} and have {_some(extra)} beyond the architecture; "
            "check architecture and options of the spec"
        )
    for name in wanted.keys() - absent:
        entry, tensor = found[name], wanted[name]
        if entry.shape != tuple(tensor.shape):
            raise CheckpointError(
                f"tensor {name} has shape {list(entry.shape)} where the architecture wants "
                f"{list(tensor.shape)}; check options, classes and image size of the spec"
            )
        accepted = STORED_DTYPES if tensor.is_floating_point() else {"I64": torch.int64}
        if entry.dtype not in accepted:
            raise CheckpointError(
                f"tensor {name} is stored as {entry.dtype}; store it as one of "
                f"{', '.join(accepted)}"
            )
    return absent


def _some(names: list[str]) -> str:
    if not names:
        return "nothing"
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
