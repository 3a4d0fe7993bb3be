"""What can go wrong with a model, as one small tree. Imports no torch.

Every message is a sentence for the person who gave the model or the request: what was found,
what was wanted, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class ModelError(Exception):
    """Any failure of this package that its caller can expect."""


class SpecError(ModelError):
    """The spec asks for something that its architecture cannot be."""


class CheckpointError(ModelError):
    """The files of a checkpoint are missing, damaged, or not what the spec says."""


class TensorMatchError(CheckpointError):
    """The tensors of a file are not those that the architecture wants.

    differences: a sentence for each; the message has the first 20.
    """

    NAMED = 20

    def __init__(self, differences: Sequence[str]) -> None:
        self.differences = tuple(differences)
        left = len(self.differences) - self.NAMED
        more = [f"and {left} more"] if left > 0 else []
        super().__init__("tensors: " + "; ".join([*self.differences[: self.NAMED], *more]))


class InputError(ModelError):
    """Latents or labels do not fit the generator; found before any inference."""


class OutputShapeError(ModelError):
    """The generator gave another number or shape of images than it was asked for."""


class InferenceError(ModelError):
    """The runtime that computes a model gave up on this input."""


class RuntimeMemoryError(InferenceError):
    """The runtime had too little memory for so many images at once."""


class TrainingError(ModelError):
    """A training cannot start, go on or be resumed with what it was given."""


class DatasetError(ModelError):
    """A dataset of images can't be read, or is not what it should be.

    kind: a stable name of the reason, for programs.
    """

    def __init__(self, sentence: str, kind: str = "invalid") -> None:
        self.kind = kind
        super().__init__(sentence)
