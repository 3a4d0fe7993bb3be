"""What labelling costs: candidates a class takes, from a few that were drawn and labelled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.jobs.plan import Plan, images_drawn

PILOT_CANDIDATES = 512


@dataclass(frozen=True)
class Pilot:
    """Candidates of one model as a classifier labelled them.

    finite: bool [n]; labels: int64 [n]; confidences: float32 [n].
    """

    finite: NDArray[np.bool_]
    labels: NDArray[np.int64]
    confidences: NDArray[np.float32]

    def share(self, label: int, min_confidence: float) -> float:
        """Part of the candidates that such a class can use."""
        sure = self.finite & (self.confidences >= min_confidence)
        return float((sure & (self.labels == label)).mean())


class Labelling(BaseModel):
    """What it takes to fill the classes of a job whose candidates a classifier labels."""

    classifier: str
    min_confidence: float
    pilot_candidates: int | None = Field(
        description="drawn of each model to measure this; null: not measured"
    )
    candidates_per_class: dict[str, int | None] | None = Field(
        description="expected until the class is full; null for one that the pilot never met"
    )
    candidates: int | None = Field(
        description="expected for the whole job, where one stream of candidates fills all classes"
    )
    basis: str


def labelling(plan: Plan, pilots: Sequence[Pilot] | None) -> Labelling | None:
    """The cost of labelling; None where nothing has to be labelled.

    pilots: one for each model of the plan; None where no worker could draw them.
    """
    judge = plan.labelled_by
    if judge is None:
        return None
    if pilots is None:
        return Labelling(
            classifier=judge.ref,
            min_confidence=judge.min_confidence,
            pilot_candidates=None,
            candidates_per_class=None,
            candidates=None,
            basis="not measured: no worker had time to draw a pilot; ask again while one runs",
        )
    expected = _expected(plan, pilots, judge.min_confidence)
    by_class = {
        name: _sum(n for cell, n in expected.items() if plan.cells[cell].label == label)
        for label, name in enumerate(plan.classes)
        if name in plan.samples_per_class
    }
    slowest = [
        _most(n for cell, n in expected.items() if plan.cells[cell].model == model)
        for model in range(len(plan.models))
    ]
    size = len(pilots[0].labels)
    never = [name for name, n in by_class.items() if n is None]
    basis = f"measured: {size} candidates of each model, labelled by {judge.ref}"
    return Labelling(
        classifier=judge.ref,
        min_confidence=judge.min_confidence,
        pilot_candidates=size,
        candidates_per_class=by_class,
        candidates=_sum(slowest),
        basis=f"{basis}; none was {', '.join(never)}: the job may run dry" if never else basis,
    )


def _expected(plan: Plan, pilots: Sequence[Pilot], min_confidence: float) -> dict[int, int | None]:
    """Cell → candidates until it is full; None where the pilot has none of its class."""
    found: dict[int, int | None] = {}
    for number, cell in enumerate(plan.cells):
        share = pilots[cell.model].share(cell.label, min_confidence)
        found[number] = ceil(images_drawn([cell], plan.variants) / share) if share else None
    return found


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = list(numbers)
    return None if None in known else sum(n for n in known if n is not None)


def _most(numbers: Iterable[int | None]) -> int | None:
    known = list(numbers)
    return None if None in known else max((n for n in known if n is not None), default=0)
