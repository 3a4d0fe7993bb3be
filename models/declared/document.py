"""A declared network as data: what goes in, the layers, how the images come out. No torch.

    {"inputs": ["latent", {"type": "embedding", "width": 10}],
     "layers": [{"type": "linear", "out": 784}, "sigmoid"],
     "output": "flat_chw"}

Inputs are joined in the order in which they are listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, Union

from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    StrictInt,
    StringConstraints,
    ValidationError,
    model_validator,
)

from models.declared import limits
from models.declared.activations import Real
from models.declared.layers import Features, Layers, Size
from models.declared.problems import explain
from models.errors import SpecError
from models.spec import Frozen

ConditionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class Condition(Frozen):
    """One thing that an image is asked to be: its class, a style.

    count: how many values it has.
    rows: rows of its table in the file, where that has more than it uses; `first`: the row of
    value 0. fixed: always this value; it is then no part of the label.

    The label of several conditions counts like digits, the last one fastest: with 49 characters
    and 2 styles, label = 2 * character + style.
    """

    name: ConditionName = "class"
    count: Size
    first: Annotated[StrictInt, Field(ge=0, le=limits.SIZE)] = 0
    rows: Size | None = None
    fixed: Annotated[StrictInt, Field(ge=0, le=limits.SIZE)] | None = None

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if self.first + self.count > self.table_rows:
            raise ValueError(
                f"condition {self.name}: {self.count} values from row {self.first} on do not fit "
                f"into {self.table_rows} rows"
            )
        if self.fixed is not None and self.fixed >= self.count:
            raise ValueError(
                f"condition {self.name}: fixed is {self.fixed} where values are "
                f"0...{self.count - 1}"
            )
        return self

    @property
    def table_rows(self) -> int:
        """Length of its one-hot vector, rows of its table."""
        return self.rows or self.first + self.count


class Latent(Frozen):
    """The latent [latent_size], standard normal; with `uniform`, flat between those bounds."""

    type: Literal["latent"]
    uniform: tuple[Real, Real] | None = None
    layers: Layers = ()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.uniform is not None and not self.uniform[0] < self.uniform[1]:
            raise ValueError("uniform is [lowest, highest]")
        return self


class OneHot(Frozen):
    """A condition as zeros and a one: [rows]."""

    type: Literal["one_hot"]
    of: ConditionName | None = None
    layers: Layers = ()


class EmbeddingInput(Frozen):
    """A condition as a row of a table of the file: [width]."""

    type: Literal["embedding"]
    width: Features
    of: ConditionName | None = None
    layers: Layers = ()


class Join(Frozen):
    """Inputs made one, along axis 0 of the sample or value by value."""

    type: Literal["join"]
    inputs: Inputs
    merge: Literal["concat", "add", "multiply"] = "concat"
    layers: Layers = ()


def _worded(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


Input = Annotated[
    Union[Latent, OneHot, EmbeddingInput, Join],  # noqa: UP007 - Join is not yet whole
    Field(discriminator="type"),
]
Inputs = Annotated[
    tuple[Annotated[Input, BeforeValidator(_worded)], ...], Field(min_length=1, max_length=16)
]
Join.model_rebuild()

Layout = Literal["chw", "hwc", "flat_chw", "flat_hwc"]


class DeclaredOptions(Frozen):
    """Options of the architecture `declared`.

    inputs, merge: what goes in, and how it is joined: "concat" in the order of the list, "add" or
    "multiply". Each input may have layers of its own before it is joined.
    conditions: what labels say. Left out, there is one, `class`, with the classes of the spec.
    output: order of the axes of what the last layer gives.
    """

    conditions: Annotated[tuple[Condition, ...], Field(max_length=8)] = ()
    inputs: Inputs
    merge: Literal["concat", "add", "multiply"] = "concat"
    layers: Layers
    output: Layout = "chw"

    @model_validator(mode="before")
    @classmethod
    def _small(cls, value: Any) -> Any:
        _check_size(value)
        return value

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [condition.name for condition in self.conditions]
        if len(set(names)) != len(names):
            raise ValueError("conditions must differ in their names")
        return self

    def document(self) -> dict[str, JsonValue]:
        """As short JSON without defaults: equal networks give equal documents."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def parse_options(options: Mapping[str, JsonValue]) -> DeclaredOptions:
    """Options out of JSON; what is wrong is named by its path."""
    try:
        return DeclaredOptions.model_validate(dict(options))
    except ValidationError as error:
        raise SpecError(f"declared network: {explain(error)}") from error


def _check_size(value: Any) -> None:
    """Refuse what is too long or too deep before anything walks it by recursion."""
    seen, level = 0, [value]
    for _ in range(limits.DEPTH):
        level = [child for parent in level for child in _children(parent)]
        seen += len(level)
        if seen > limits.VALUES:
            raise ValueError(f"more than {limits.VALUES} values; a network has fewer layers")
        if not level:
            return
    raise ValueError("lists and objects lie too deep in one another")


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []
