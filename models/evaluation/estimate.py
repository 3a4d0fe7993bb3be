"""One figure as it is reported: with its interval, its counts, or why there is none.

Every figure carries what it needs to be read alone. Imports no torch.
"""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from models.spec import Frozen

FigureName = Literal["kid", "fid", "precision", "recall", "density", "coverage"]
FIDELITY: Final[tuple[FigureName, ...]] = (
    "kid", "fid", "precision", "recall", "density", "coverage",
)  # fmt: skip
"""Figures of fidelity and diversity, in the order of a table."""


class Interval(Frozen):
    """low..high covers the true figure with probability `confidence`, under what `method` says.

    method: "bootstrap" (percentiles over resampled samples), "subsets" (mean of random subsets,
    give or take what their spread says), "binomial" (Clopper & Pearson 1934) or "t".
    """

    low: float
    high: float
    confidence: float = Field(default=0.95, gt=0, lt=1)
    method: Literal["bootstrap", "subsets", "binomial", "t"]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError("an interval is (low, high)")
        return self


class Figure(Frozen):
    """One measured number.

    value: absent exactly when `reason` says why.
    synthetic, real: how many samples and real images it was measured on.
    backbone: name of the feature extractor or classifier behind it; None for a plain count.
    better: which direction is good, for colours and gates.
    """

    value: float | None
    interval: Interval | None = None
    synthetic: int = Field(ge=0)
    real: int = Field(default=0, ge=0)
    backbone: str | None = None
    better: Literal["higher", "lower", "neither"] = "higher"
    reason: str | None = None

    @model_validator(mode="after")
    def _absent_with_reason(self) -> Self:
        if (self.value is None) != (self.reason is not None):
            raise ValueError("a figure has a value, or a reason why it has none")
        return self
