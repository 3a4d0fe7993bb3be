"""What an evaluation found, as one frozen type with a stable JSON schema. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, JsonValue

from models.evaluation.estimate import Figure, Interval
from models.evaluation.findings import (
    Agreement,
    Appearance,
    Balance,
    Copies,
    Cost,
    Fidelity,
    Material,
    Real,
)
from models.evaluation.lift_result import LiftResult
from models.spec import Frozen

EVALUATION_FILE: Final = "evaluation.json"


class Kind(StrEnum):
    """What a verdict says, for programs. The sentence is for people."""

    UNTRAINED = "untrained"
    """Nothing in the samples resembles the real images."""
    NOISY = "noisy"
    """The samples are far rougher than the real images."""
    COLLAPSED = "collapsed"
    """Classes whose samples are nearly all the same."""
    COPIES = "copies"
    """Samples are images of the training set."""
    MISLABELLED = "mislabelled"
    """Samples are not what their labels say."""
    UNLIKE = "unlike"
    """Many samples lie outside the real images."""
    NARROW = "narrow"
    """The samples show only part of what the real images show."""
    FINE = "fine"
    """None of these."""

    @property
    def unusable(self) -> bool:
        """Whether the samples should not be used as they are."""
        return self in (
            Kind.UNTRAINED, Kind.NOISY, Kind.COLLAPSED, Kind.COPIES, Kind.MISLABELLED,
        )  # fmt: skip


class Evaluation(Frozen):
    """Everything that was found. The first line of every rendering is `verdict`.

    kind: what the verdict says, for programs. warnings: what limits the figures, in sentences.
    lift: absent when not asked for or when the reason in `lift_reason` stood against it.
    pictures: name to file in the evaluation's folder.
    options: what was asked for, enough to measure it again.
    """

    format: Literal[1] = 1
    verdict: str = Field(min_length=1)
    kind: Kind
    warnings: tuple[str, ...] = ()
    subject: Material
    real: Real
    fidelity: Fidelity
    copies: Copies
    balance: Balance
    agreement: Agreement
    appearance: Appearance
    lift: LiftResult | None = None
    lift_reason: str | None = None
    cost: Cost
    environment: dict[str, str]
    pictures: dict[str, str]
    options: dict[str, JsonValue]

    def figures(self) -> Mapping[str, Figure]:
        """Every figure by the name a gate uses: `kid`, `kid/CLASS`, `copies`, `lift`."""
        return dict(self._named())

    def _named(self) -> Iterator[tuple[str, Figure]]:
        for name, figure in self.fidelity.overall.items():
            yield name, figure
        for label, row in self.fidelity.per_class.items():
            yield from ((f"{name}/{label}", figure) for name, figure in row.items())
        yield "label_agreement", self.agreement.overall
        for label, figure in self.agreement.per_class.items():
            yield f"label_agreement/{label}", figure
        yield "copies", self.copies.share
        yield "nearer_training", self.copies.nearer_training
        if self.lift is not None:
            yield from _of_lift(self.lift).items()

    def to_json(self) -> str:
        """Indented JSON."""
        return self.model_dump_json(indent=2) + "\n"


def _of_lift(lift: LiftResult) -> dict[str, Figure]:
    """`lift` (a difference of balanced accuracies) and `train_on_synthetic` (an accuracy)."""
    counts, found = lift.counts, {}
    if lift.lift is not None:
        ends = lift.lift.interval
        found["lift"] = Figure(
            value=lift.lift.value,
            interval=Interval(low=ends.low, high=ends.high, confidence=lift.confidence, method="t"),
            synthetic=counts.synthetic,
            real=counts.test,
            backbone=lift.classifier,
        )
    if lift.train_on_synthetic is not None:
        arm = lift.train_on_synthetic
        found["train_on_synthetic"] = Figure(
            value=arm.accuracy.value,
            synthetic=arm.synthetic_images,
            real=counts.test,
            backbone=lift.classifier,
        )
    return found


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation that was written into `folder`. Raises OSError or pydantic.ValidationError."""
    return Evaluation.model_validate_json((folder / EVALUATION_FILE).read_bytes())
