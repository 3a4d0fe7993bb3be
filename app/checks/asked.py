"""What a request says of checks. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictStr,
    StringConstraints,
    model_validator,
)

Level = Annotated[float, Field(ge=0, le=1, strict=True)]
MOST_DISTANCE = 16
MOST_PERCENTILE = 50
Ref = Annotated[StrictStr, StringConstraints(min_length=1, max_length=100)]


class Bounds(BaseModel):
    """The least and the greatest value that is let through; one of them may be left out."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    min: Level | None = None
    max: Level | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError('give "min", "max" or both')
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError('"min" must not be above "max"')
        return self


class LabelAgreement(BaseModel):
    """A classifier has to name the class that was asked for."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    classifier: Ref | None = Field(
        default=None,
        description="`name` or `name@version`: GET /v1/classifiers; may be left out where only one "
        "knows these classes at this size",
    )
    min_confidence: Level = Field(default=0.0, description="smallest probability that counts")


class NearDuplicates(BaseModel):
    """No two samples of a job may look the same."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    distance: Annotated[int, Field(ge=0, le=MOST_DISTANCE, strict=True)] = Field(
        default=0,
        description="bits of 64 in which the perceptual hashes of two samples have to differ more",
    )


class Copies(BaseModel):
    """No sample may be nearer to a training image than unseen real images are."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    dataset: Ref = Field(
        description="an uploaded dataset, by id or name: what the models have learnt from, with "
        "the splits `train` and `test` (or `validation`)"
    )
    percentile: Annotated[float, Field(gt=0, le=MOST_PERCENTILE, strict=True)] = Field(
        default=1.0,
        description="of the distances of unseen images to their nearest training image: at or "
        "below it a candidate counts as a copy",
    )


def _switched(value: Any) -> Any:
    """`true` stands for the check as it is usual, `false` for none."""
    if isinstance(value, bool):
        return {} if value else None
    return value


AskedNearDuplicates = Annotated[
    NearDuplicates | None,
    BeforeValidator(_switched, json_schema_input_type=bool | NearDuplicates | None),
]
"""`true`, or `{"distance": 2}`."""


class Checks(BaseModel):
    """Which candidates are refused, beside those that are not finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    brightness: Bounds | None = Field(
        default=None, description="of the mean of an image's pixels and channels, 0 … 1"
    )
    contrast: Bounds | None = Field(
        default=None,
        description="of the standard deviation of an image's pixels and channels, 0 … 1",
    )
    label_agreement: LabelAgreement | None = Field(
        default=None, description="the class that was asked for, as a classifier sees it"
    )
    copies: Copies | None = Field(
        default=None, description="no sample may be a copy of a training image, or nearly one"
    )
    near_duplicates: AskedNearDuplicates = Field(
        default=None, description="no two samples of the job may look the same"
    )
