"""Why a file is refused: one kind each, what such a file is, and how to make a good one."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from models.errors import ModelError

SAVE_STATE_DICT: Final = "torch.save(generator.state_dict(), 'generator.pth')"
SAFETENSORS: Final = "safetensors.torch.save_file(generator.state_dict(), 'generator.safetensors')"
_SAVE = f"save the tensors alone: {SAVE_STATE_DICT}, or {SAFETENSORS}"
_AGAIN = "copy or download it again and compare its size with the original"
_UNPACK = "unpack it and import the checkpoint that is inside"
_TENSOR = f"make the tensors ordinary and dense in float32, then {_SAVE}"


class Kind(StrEnum):
    """Kinds of files that are not imported. The values are stable: clients may compare them."""

    EMPTY = "empty"
    NO_FILE = "no-file"
    TOO_LARGE = "too-large"
    LFS_POINTER = "git-lfs-pointer"
    HTML = "html-page"
    TEXT = "text"
    JSON = "json"
    COMPRESSED = "compressed-archive"
    PICTURE = "picture"
    HDF5 = "keras-h5"
    KERAS = "keras-archive"
    SAVED_MODEL = "tensorflow-saved-model"
    TFLITE = "tensorflow-lite"
    NPZ = "numpy-archive"
    GGUF = "gguf"
    TAR = "tar-archive"
    ZIP = "other-zip"
    TORCHSCRIPT = "torchscript"
    EXPORTED = "torch-export"
    PACKAGE = "torch-package"
    PICKLED_MODULE = "pickled-module"
    UNSAFE_PICKLE = "unsafe-pickle"
    FOREIGN_OBJECTS = "foreign-objects"
    PLAIN_PICKLE = "plain-pickle"
    COMPRESSED_MEMBERS = "compressed-members"
    SPARSE = "sparse-tensor"
    QUANTISED = "quantised-tensor"
    SUBCLASS = "tensor-subclass"
    META = "meta-tensor"
    NO_TENSORS = "no-tensors"
    BAD_TENSOR = "bad-tensor"
    BAD_NAME = "bad-name"
    DTYPE = "unsupported-dtype"
    ONNX = "unsupported-onnx"
    TOO_COMPLEX = "too-complex"
    DAMAGED = "damaged"
    UNRECOGNISED = "unrecognised"
    OUT_OF_TIME = "out-of-time"
    OUT_OF_MEMORY = "out-of-memory"
    CRASHED = "crashed"


ADVICE: Final[dict[Kind, tuple[str, str]]] = {
    Kind.EMPTY: ("the file is empty", _AGAIN),
    Kind.NO_FILE: ("this is no regular file that can be read", "name the checkpoint file itself"),
    Kind.TOO_LARGE: (
        "the file is larger than this server imports",
        "save the generator alone, without optimizer and discriminator, or raise the limit",
    ),
    Kind.LFS_POINTER: (
        "this is a Git LFS pointer, a few lines of text in place of the checkpoint",
        "run `git lfs pull` in the repository it comes from, and import the file that arrives",
    ),
    Kind.HTML: (
        "this is a web page, not a checkpoint",
        "download the file by its 'raw' or 'download' link",
    ),
    Kind.TEXT: ("this is a text file, not a checkpoint", _SAVE),
    Kind.JSON: (
        "this is a JSON document, not a checkpoint",
        "give the file with the tensors; a spec goes beside it",
    ),
    Kind.COMPRESSED: ("this is a compressed archive, not a checkpoint", _UNPACK),
    Kind.PICTURE: ("this is a picture, not a checkpoint", _SAVE),
    Kind.HDF5: (
        "this is an HDF5 file, as Keras writes it",
        "export it as ONNX (`tf2onnx`, or `model.export('generator.onnx', format='onnx')`), "
        "or write its arrays as safetensors",
    ),
    Kind.KERAS: (
        "this is a Keras archive (.keras), which may hold code",
        "export it as ONNX: `model.export('generator.onnx', format='onnx')`",
    ),
    Kind.SAVED_MODEL: (
        "this is a TensorFlow SavedModel",
        "convert it to ONNX with `python -m tf2onnx.convert --saved-model FOLDER "
        "--output generator.onnx`",
    ),
    Kind.TFLITE: (
        "this is a TensorFlow Lite model",
        "export the model it was made from as ONNX",
    ),
    Kind.NPZ: (
        "this is a NumPy archive (.npz)",
        "write its arrays as safetensors: safetensors.numpy.save_file(dict(numpy.load(FILE)), "
        "'generator.safetensors')",
    ),
    Kind.GGUF: ("this is a GGUF file, a language model's format", _SAVE),
    Kind.TAR: (
        "this is a tar archive (PyTorch before 0.1.10 saved checkpoints like that)",
        f"load it where it was made, then {_SAVE}",
    ),
    Kind.ZIP: ("this is a zip archive, but none that torch.save wrote", _UNPACK),
    Kind.TORCHSCRIPT: (
        "this is a TorchScript archive, which is a program",
        f"where you made it, {_SAVE}; or export ONNX with torch.onnx.export",
    ),
    Kind.EXPORTED: (
        "this is a torch.export archive (.pt2), which is a program",
        f"where you made it, {_SAVE}; or export ONNX with torch.onnx.export",
    ),
    Kind.PACKAGE: (
        "this is a torch.package archive, which is a program",
        f"where you made it, {_SAVE}",
    ),
    Kind.PICKLED_MODULE: (
        "this is a whole pickled module (torch.save(model)), which only its own code can open",
        _SAVE,
    ),
    Kind.UNSAFE_PICKLE: (
        "this pickle asks to run code when it is opened, so it was not opened",
        f"do not open it yourself; ask its author for tensors alone. To make one, {_SAVE}",
    ),
    Kind.FOREIGN_OBJECTS: (
        "this pickle holds objects of classes that are no tensors",
        _SAVE,
    ),
    Kind.PLAIN_PICKLE: ("this pickle was not written by torch.save", _SAVE),
    Kind.COMPRESSED_MEMBERS: (
        "the members of this archive are compressed or encrypted; torch.save stores them as they "
        "are",
        "unpack and import the original checkpoint, not one that was zipped again",
    ),
    Kind.SPARSE: ("the file holds a sparse tensor", _TENSOR),
    Kind.QUANTISED: ("the file holds a quantised tensor", f"dequantise it, then {_SAVE}"),
    Kind.SUBCLASS: ("the file holds a tensor of a special class", _TENSOR),
    Kind.META: ("the file holds a meta tensor, which has a shape but no numbers", _TENSOR),
    Kind.NO_TENSORS: ("the file holds no dictionary of named tensors", _SAVE),
    Kind.BAD_TENSOR: ("shape, strides and storage of a tensor do not agree", _TENSOR),
    Kind.BAD_NAME: (
        "a tensor has a name that is not printable text of at most 512 characters",
        f"rename it, then {_SAVE}",
    ),
    Kind.DTYPE: (
        "a tensor has a type of numbers that is not supported",
        f"convert it to float32 (or int64 for counters), then {_SAVE}",
    ),
    Kind.ONNX: (
        "this ONNX model cannot be used",
        "export it as one file of standard operators",
    ),
    Kind.TOO_COMPLEX: ("the file has more parts than a checkpoint needs", _SAVE),
    Kind.DAMAGED: ("the file is damaged or cut off", _AGAIN),
    Kind.UNRECOGNISED: (
        "this is no checkpoint of a known format",
        f"give a state dict of torch.save, safetensors or ONNX; {_SAVE}",
    ),
    Kind.OUT_OF_TIME: ("reading the file took longer than is allowed", _SAVE),
    Kind.OUT_OF_MEMORY: ("reading the file took more memory than is allowed", _SAVE),
    Kind.CRASHED: ("the process that read the file ended without an answer", _SAVE),
}
"""Kind → what such a file is, and what to do about it."""

DETAIL_CHARACTERS: Final = 300


class UnsupportedCheckpointError(ModelError):
    """The file is not imported. `kind` is stable; `detail` says what was found in this one.

    peak_bytes: memory of the process that looked into it; 0 where none was started.
    """

    peak_bytes = 0

    def __init__(self, kind: Kind, detail: str = "") -> None:
        self.kind = kind
        self.detail = shown(detail, DETAIL_CHARACTERS)
        what, advice = ADVICE[kind]
        found = f" ({self.detail})" if self.detail else ""
        super().__init__(f"{what}{found}; {advice}")


def shown(text: str, limit: int = 80) -> str:
    """Text from a file as one printable line of at most `limit` characters."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in cut)[:limit]
