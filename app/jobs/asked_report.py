"""What a job is asked to measure of its samples, and what must hold of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
)

from app.errors import ValidationError
from app.quality.gate import MAX_CONDITIONS, Condition, read_gate
from app.quality.known_figures import KNOWN

LONGEST_MINUTES = 24 * 60.0

Bound = StrictFloat | StrictInt | Annotated[StrictStr, StringConstraints(max_length=400)]
Expression = Annotated[StrictStr, StringConstraints(min_length=1, max_length=400)]
Gate = (
    Annotated[dict[Expression, Bound], Field(max_length=MAX_CONDITIONS)]
    | Annotated[list[Expression], Field(max_length=MAX_CONDITIONS)]
)
"""`{"label_agreement": 0.95}`, `{"kid": "<=0.05"}` or `["kid<=0.05"]`."""


class AskedReport(BaseModel):
    """What the report of a job shall hold beside what the job itself shows."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    against: Annotated[StrictStr, StringConstraints(min_length=1, max_length=100)] = Field(
        description="id of the real dataset that the samples are held against: `ds_…`"
    )
    lift: bool = Field(
        default=False,
        strict=True,
        description="also train classifiers with and without the samples: does it help?",
    )
    minutes: float = Field(
        default=5.0, gt=0, le=LONGEST_MINUTES, strict=True, description="most that it may take"
    )


def conditions_of(gate: Gate | None, report: AskedReport | None) -> tuple[Condition, ...]:
    """The conditions of a job's gate.

    Raises UnknownFigureError; ValidationError for a gate that can't be read, or on a figure that
    the report will not have.
    """
    conditions = read_gate(gate) if gate else ()
    missing = [c.figure for c in conditions if KNOWN[c.figure].needs not in _measured(report)]
    if missing:
        lift = KNOWN[missing[0]].needs == "lift"
        asked = '{"against": "ds_…"' + (', "lift": true}' if lift else "}")
        raise ValidationError(
            f"The gate asks for {missing[0]}, which this job's report would not have: ask for it "
            f'with "report": {asked}.'
        )
    return conditions


def _measured(report: AskedReport | None) -> Sequence[str]:
    if report is None:
        return ("job",)
    return ("job", "against", "lift") if report.lift else ("job", "against")
