"""Which classifier labels a job of models that take no class: as asked, and as it follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, StringConstraints

from app.errors import UnknownClassifierError, ValidationError
from models.classifier_spec import ClassifierSpec
from models.spec import ImageShape, ModelSpec

ClassifierRef = Annotated[StrictStr, StringConstraints(min_length=1, max_length=100)]


class LabelledBy(BaseModel):
    """A classifier that labels candidates, and how sure it has to be."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    classifier: ClassifierRef = Field(description="`name` or `name@version`: GET /v1/classifiers")
    min_confidence: float = Field(
        default=0.0, ge=0, le=1, strict=True, description="smallest probability that counts"
    )


def _named(value: Any) -> Any:
    """The name of a classifier stands for the classifier, however unsure it is."""
    return {"classifier": value} if isinstance(value, str) else value


AskedLabelledBy = Annotated[
    LabelledBy, BeforeValidator(_named, json_schema_input_type=ClassifierRef | LabelledBy)
]
"""`"fashion-classifier"`, or `{"classifier": "fashion-classifier", "min_confidence": 0.8}`."""


def fitting(known: Sequence[ClassifierSpec], image: ImageShape) -> list[ClassifierSpec]:
    """The classifiers that can label images of this shape."""
    return [spec for spec in known if spec.image == image]


def classifier_of(
    asked: LabelledBy, specs: Sequence[ModelSpec], known: Sequence[ClassifierSpec]
) -> ClassifierSpec:
    """The classifier that is asked for.

    Raises ValidationError when the models take a class themselves, UnknownClassifierError when
    there is no such classifier or it labels images of another size.
    """
    conditional = [spec.name for spec in specs if spec.conditional]
    if conditional:
        raise ValidationError(
            f'"{conditional[0]}" is asked by class already, so nothing of it has to be labelled: '
            'leave "labelled_by" out.'
        )
    image = specs[0].image
    fits = fitting(known, image)
    # Of several versions, the name alone means the newest.
    for spec in sorted(fits, key=newness, reverse=True):
        if asked.classifier in (spec.name, spec.ref):
            return spec
    shown, names = ascii(asked.classifier[:80]), [spec.ref for spec in fits]
    there = any(asked.classifier in (spec.name, spec.ref) for spec in known)
    what = f"{shown} labels images of another size" if there else f"There is no classifier {shown}"
    advice = f"Take {' or '.join(names)}" if names else "None fits; ask for samples without a class"
    raise UnknownClassifierError(
        f'{what}; "{specs[0].name}" makes {image.height} x {image.width} x {image.channels}. '
        f"{advice}.",
        classifiers=names,
    )


def newness(spec: ClassifierSpec) -> tuple[int, ...]:
    """Its version in order."""
    return tuple(int(part) for part in spec.version.split("."))
