"""The models of a request: which classes each draws, under which names, with which share. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr
from pydantic import StringConstraints as Constraints

from app.errors import UnknownClassError, ValidationError
from app.jobs.plan import Cell, apportion
from models.spec import ModelSpec

ModelRef = Annotated[StrictStr, Constraints(min_length=1, max_length=100)]
Weight = Annotated[StrictFloat | StrictInt, Field(ge=0, le=1e6)]


class WeightedModel(BaseModel):
    """One source of a job, and its share."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    model: ModelRef = Field(description="`name` (its default version) or `name@version`")
    weight: float = Field(default=1.0, gt=0, le=1e6, strict=True)
    classes: list[StrictStr] | dict[StrictStr, Weight] | None = Field(
        default=None,
        description="classes of the dataset: a list, and it draws only these; or class → weight in "
        "place of `weight`, 0 for one that it shall not draw",
    )
    class_map: dict[StrictStr, StrictStr] = Field(
        default={}, description="class of the model → what it is called in the dataset"
    )


@dataclass(frozen=True, slots=True)
class Source:
    """A model as a request wants it."""

    spec: ModelSpec
    asked: WeightedModel
    classes: tuple[str, ...]
    """What the dataset calls the model's classes, by the label that the model takes."""

    def weight_of(self, name: str) -> float:
        """Its share of a class; 0 where it draws none."""
        if self.spec.conditional and name not in self.classes:
            return 0.0
        match self.asked.classes:
            case None:
                return self.asked.weight
            case list() as only:
                return self.asked.weight if name in only else 0.0
            case own:
                return float(own.get(name, self.asked.weight))

    def condition_of(self, name: str) -> int:
        """The label that the model takes for a class; -1 where it takes none."""
        return self.classes.index(name) if self.spec.conditional else -1


def sources_of(asked: Sequence[WeightedModel], specs: Sequence[ModelSpec]) -> list[Source]:
    """The models of a request with their specs. Raises a ValidationError of the tree."""
    if len({spec.sha256 for spec in specs}) != len(specs):
        raise ValidationError("The same model is named twice; add its weights and name it once.")
    if len({spec.image for spec in specs}) != 1:
        raise ValidationError("All models of a job must make images of one size and channel count.")
    return [_source(model, spec) for model, spec in zip(asked, specs, strict=True)]


def _source(asked: WeightedModel, spec: ModelSpec) -> Source:
    if asked.class_map and not spec.conditional:
        raise ValidationError(
            f'"{spec.name}" takes no class, so it has none to rename: leave "class_map" out.'
        )
    _known(asked.class_map, spec.class_names, f'"class_map" of "{spec.name}"')
    names = tuple(asked.class_map.get(name, name) for name in spec.class_names)
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValidationError(
            f'"class_map" of "{spec.name}" calls two of its classes {twice[:80]!a}; give each a '
            "name of its own."
        )
    if spec.conditional:
        _known(asked.classes or (), names, f'"classes" of "{spec.name}"')
    return Source(spec, asked, names)


def _known(named: Mapping[str, object] | Sequence[str], known: Sequence[str], where: str) -> None:
    unknown = [name for name in named if name not in set(known)]
    if unknown:
        raise UnknownClassError(
            f"{where} names {unknown[0][:80]!a}, which is none of: {', '.join(known[:50])}.",
            known_classes=list(known[:1000]),
        )


def classes_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """The classes of the dataset, in the order in which the models have them."""
    return tuple(dict.fromkeys(name for source in sources for name in source.classes))


def covered(sources: Sequence[Source], classes: Sequence[str]) -> list[str]:
    """The classes that at least one model draws."""
    return [name for name in classes if any(source.weight_of(name) for source in sources)]


def cells_of(
    quotas: Mapping[str, int], sources: Sequence[Source], classes: Sequence[str]
) -> tuple[Cell, ...]:
    """How many samples of each class come from each model: by weight, by largest remainder.

    Each class of `quotas` must be covered.
    """
    cells: list[Cell] = []
    for label, name in enumerate(classes):
        if not quotas.get(name, 0):
            continue
        weights = [source.weight_of(name) for source in sources]
        for place, count in enumerate(apportion(quotas[name], weights)):
            if count:
                cells.append(Cell(place, label, sources[place].condition_of(name), count))
    return tuple(cells)
