"""What a person writes to import a file of weights: the model, and how its tensors are named.

A document of JSON, checked as data. Imports no torch.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    model_validator,
)

from models.declared.document import parse_options
from models.declared.problems import explain
from models.errors import SpecError
from models.spec import ClassName, Frozen, ImageShape, ModelName, ModelSpec, Version, Weights

IMPORT_SPEC_BYTES: Final = 1 << 20
RAW_PIXELS: Final = (0.0, 255.0)

TensorPath = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class TensorRules(Frozen):
    """How the tensors of a file become ours.

    state: the key, or keys from outside in, under which the file's dict holds the tensors; left
    out, the only place that has any.
    names: ours to theirs. A name stands for itself and for everything below it: "layers.0": "l1"
    takes l1.weight for layers.0.weight. `{n}`, `{n+2}`, `{n-1}`, `{3n+1}` stand for a number:
    "layers.{n+2}": "conv_blocks.{n}". A name without a number wins over one with. "" is all of
    theirs: "layers": "".
    order: what no name covers is taken layer by layer, in the order of the file or in that of
    their names with numbers by value; "none" takes only what is named. Names and order find
    candidates; shapes decide.
    ignore: tensors of the file that the generator does not have, `*` for any characters. Whatever
    else is left over is refused.
    """

    state: tuple[str, ...] | None = None
    names: dict[TensorPath, Annotated[str, StringConstraints(max_length=512)]] = {}
    order: Literal["file", "natural", "none"] = "file"
    ignore: Annotated[tuple[TensorPath, ...], Field(max_length=32)] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_key(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("state"), str):
            return value | {"state": (value["state"],)}
        return value

    @model_validator(mode="after")
    def _few(self) -> Self:
        if len(self.names) > 512:
            raise ValueError("at most 512 names; use {n} for what repeats")
        if sum("{" in ours for ours in self.names) > 64:
            raise ValueError("at most 64 names with numbers")
        return self


def _class_names(value: Any) -> Any:
    """10 -> "0"..."9"; [["a", "b"], 2] -> "a-0", "a-1", "b-0", "b-1"."""
    if type(value) is int:
        return _numbered(value)
    if isinstance(value, list | tuple) and not all(isinstance(item, str) for item in value):
        parts = [_numbered(item) if type(item) is int else item for item in value]
        if not all(isinstance(part, list | tuple) for part in parts):
            raise ValueError("classes are names, a number, or a list of such lists and numbers")
        _check_count([len(part) for part in parts])
        return tuple("-".join(str(word) for word in words) for words in product(*parts))
    return value


def _numbered(count: int) -> tuple[str, ...]:
    _check_count([count])
    return tuple(str(label) for label in range(count))


def _check_count(counts: list[int]) -> None:
    total = 1
    for count in counts:
        total *= count
    if not 0 <= total <= 65_536:
        raise ValueError(f"{total} classes; there can be 0...65536")


class ImportSpec(Frozen):
    """A model to be, without its weights.

    classes: the name of each label in order; or how many there are, which are then called "0",
    "1", …; or a list of lists and numbers, whose combinations are the classes. Empty: the
    generator takes no label.
    value_range: what becomes pixel 0 and pixel 255; "none" takes values as pixels as they are.
    """

    format: Literal[1] = 1
    name: ModelName
    version: Version = "1.0.0"
    family: Literal["gan", "vae"]
    licence: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    description: Annotated[str, StringConstraints(max_length=2000)] = ""
    image: ImageShape
    latent_size: Annotated[int, Field(ge=1, le=65_536)]
    classes: Annotated[tuple[ClassName, ...], BeforeValidator(_class_names)] = ()
    value_range: Annotated[
        tuple[float, float], BeforeValidator(lambda v: RAW_PIXELS if v == "none" else v)
    ]
    architecture: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = "declared"
    options: dict[str, JsonValue] = {}
    tensors: TensorRules = TensorRules()

    def model_spec(self, weights: Weights) -> ModelSpec:
        """The spec of the model once its weights are stored; options in their short form."""
        options = self.options
        if self.architecture == "declared":
            options = parse_options(options).document()
        fields = self.model_dump(exclude={"tensors", "options", "format"})
        conditioning = "class" if self.classes else "none"
        try:
            return ModelSpec.model_validate(
                fields | {"options": options, "conditioning": conditioning, "weights": weights}
            )
        except ValidationError as error:
            raise SpecError(f"import spec: {explain(error)}") from error


def read_import_spec(content: bytes) -> ImportSpec:
    """The document out of its JSON; what is wrong is named by its path."""
    if len(content) > IMPORT_SPEC_BYTES:
        raise SpecError(f"import spec: larger than {IMPORT_SPEC_BYTES} bytes; leave weights out")
    try:
        return ImportSpec.model_validate_json(content)
    except ValidationError as error:
        raise SpecError(f"import spec: {explain(error)}") from error
