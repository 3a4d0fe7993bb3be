"""What a dataset lacks to be balanced: class counts in, numbers of samples out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    model_validator,
)

from app.errors import ValidationError

Count = Annotated[StrictInt, Field(ge=0, lt=2**53)]
Share = Annotated[StrictFloat | StrictInt, Field(gt=0, le=1e6)]


class Ratio(BaseModel):
    """No class smaller than so much of the largest one."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    ratio: Annotated[StrictFloat | StrictInt, Field(gt=0, le=1)]


class Distribution(BaseModel):
    """Classes in these proportions: the smallest dataset that leaves no real image out."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    distribution: dict[StrictStr, Share] = Field(min_length=1, max_length=100_000)


def _kind(value: Any) -> str | None:
    """Which of the ways to say a target is meant, so that what is wrong is said of this one."""
    if value == "max":
        return "max"
    if isinstance(value, int) and not isinstance(value, bool):
        return "number"
    if isinstance(value, Distribution) or (isinstance(value, dict) and "distribution" in value):
        return "distribution"
    return "ratio" if isinstance(value, Ratio | dict) else None


Target = Annotated[
    Annotated[Literal["max"], Tag("max")]
    | Annotated[StrictInt, Field(ge=1, lt=2**53), Tag("number")]
    | Annotated[Ratio, Tag("ratio")]
    | Annotated[Distribution, Tag("distribution")],
    Discriminator(
        _kind,
        custom_error_type="balance_target_type",
        custom_error_message='Give "max", a whole number, {"ratio": r} with r of at most 1, or '
        '{"distribution": {class: weight}}',
    ),
]


class Balance(BaseModel):
    """Fill what real images lack, in place of `samples_per_class`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    counts: dict[StrictStr, Count] | None = Field(
        default=None, min_length=1, max_length=100_000, description="class → real images"
    )
    dataset: StrictStr | None = Field(
        default=None, description="an uploaded dataset, by id or name, in place of `counts`"
    )
    split: Literal["train", "validation", "test"] = Field(
        default="train", description="the split of the dataset that is counted"
    )
    to: Target = Field(
        default="max",
        description='`"max"`: every class as large as the largest; a number: every class at least '
        'that large; `{"ratio": r}`: at least that part of the largest; `{"distribution": {class: '
        "weight}}`: in these proportions",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.counts is None) == (self.dataset is None):
            raise ValueError('give either "counts" or "dataset"')
        return self


def lacking(counts: Mapping[str, int], to: Target) -> dict[str, int]:
    """Class → samples that are missing; classes that lack nothing are left out.

    Raises ValidationError when nothing is missing, or a distribution leaves out real images.
    """
    targets = _targets(counts, to)
    missing = {name: target - counts.get(name, 0) for name, target in targets.items()}
    missing = {name: count for name, count in missing.items() if count > 0}
    if not missing:
        raise ValidationError(
            "Nothing is missing: every class has as many images as it shall have. Ask for a larger "
            '"to", or for "samples_per_class".'
        )
    return missing


def _targets(counts: Mapping[str, int], to: Target) -> dict[str, int]:
    if isinstance(to, Distribution):
        return _proportional(counts, to.distribution)
    largest = max(counts.values())
    match to:
        case "max":
            least = largest
        case Ratio():
            least = _ceiling(Fraction(to.ratio) * largest)
        case _:
            least = to
    return dict.fromkeys(counts, least)


def _proportional(counts: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, int]:
    """The smallest counts in these proportions that hold all that is there (rounded up)."""
    left_out = [name for name, count in counts.items() if count and name not in shares]
    if left_out:
        raise ValidationError(
            f'"distribution" gives no share to {left_out[0][:80]!a}, of which there are real '
            "images. Give every class of the dataset a share."
        )
    scale = max(Fraction(counts.get(name, 0)) / Fraction(share) for name, share in shares.items())
    return {name: _ceiling(scale * Fraction(share)) for name, share in shares.items()}


def _ceiling(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)
