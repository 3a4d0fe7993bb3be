"""What a report says, as frozen types with a stable JSON schema (docs/report.schema.json).

`Report` holds everything but the pictures; `page` renders it for people.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from app.quality.gate import GateOutcome
from models.evaluation.estimate import Figure
from models.evaluation.results import Evaluation
from models.spec import Frozen

FORMAT = "synthloom-report/1"


class ClassRow(Frozen):
    """A class: how many samples were asked for, and how many are there."""

    name: str
    asked: int = Field(ge=0)
    delivered: int = Field(ge=0)


class BalanceRow(Frozen):
    """A class of the training data: real images, and how many there are with the samples."""

    name: str
    before: int = Field(ge=0)
    after: int = Field(ge=0)


class RealPart(Frozen):
    """The real dataset that the samples are merged with. splits: images of each."""

    name: str
    sha256: str
    licence: str
    attribution: str
    splits: dict[str, int]


class StoredFile(Frozen):
    """An archive, or what the shards take together."""

    name: str
    bytes: int = Field(ge=0)
    sha256: str | None = None
    seconds: float | None = None


class CopyGuard(Frozen):
    """Of which training images no sample may be a copy, and from which distance on it is one.

    dataset, sha256: the real dataset; training, holdout: its splits with the training images, and
        with the unseen ones that say how near is too near. space: where distances are taken.
    percentile: of the distances of unseen images to their nearest training image.
    threshold: the distance that this is; relative, 1 is the usual one of the class. distances: the
        same by class, in levels 0 ... 255; under "" where classes do not matter. Both are absent
        until the job's first shard has begun.
    """

    dataset: str
    sha256: str
    training: str
    holdout: str
    space: str
    percentile: float
    threshold: float | None = None
    distances: dict[str, float] = {}


class JobPart(Frozen):
    """What was asked of a job, and what became of it.

    variants: samples that transforms made of each drawn image.
    candidates: drawn in all. refused: those that were not used, by reason; refused_by_class: the
        same by the class that they were drawn for. checks: what they were refused for. copies: of
        what none of them is one, where that was checked.
    balance: of each class before and after, where real images are known that they are added to.
    merged_with: the real dataset whose images are in the archives too.
    looked_at: samples that the figures of the job itself and the contact sheets are from, the
        first ones of the dataset, in which every class has its share.
    request: of the job, with its seed: the same request gives the same samples.
    """

    id: str
    seed: int
    samples: int
    classes: tuple[ClassRow, ...]
    variants: int = 1
    candidates: int
    refused: dict[str, int]
    refused_by_class: dict[str, dict[str, int]] = {}
    checks: dict[str, JsonValue] = {}
    copies: CopyGuard | None = None
    encoding: str
    labelled_by: str | None = None
    balance: tuple[BalanceRow, ...] = ()
    merged_with: RealPart | None = None
    looked_at: int
    files: tuple[StoredFile, ...] = ()
    created: datetime
    started: datetime | None = None
    request: dict[str, JsonValue]


class Curve(Frozen):
    """One line of a model's training: values over steps."""

    name: str
    steps: tuple[float, ...]
    values: tuple[float, ...]


class ModelPart(Frozen):
    """A model that took part: its card.

    warnings: why what it makes is not worth serving. curves: of its training, where its record
        has them.
    """

    name: str
    version: str
    sha256: str
    weight: float
    family: str
    architecture: str
    licence: str
    description: str = ""
    figures: dict[str, JsonValue] = {}
    training: dict[str, JsonValue] = {}
    warnings: tuple[str, ...] = ()
    curves: tuple[Curve, ...] = ()


class CostPart(Frozen):
    """What it took.

    seconds: by stage, in the order in which they came.
    work_seconds: added up over the shards, which run beside one another: `shards` in all;
        `device`, the part of the device's time that the job's images took; `encoding`, of
        processors.
    device: what drew, of each kind of device → shards.
    bytes: by what was stored.
    """

    seconds: dict[str, float]
    work_seconds: dict[str, float] = {}
    devices: dict[str, int] = {}
    bytes: dict[str, int] = {}


class Report(Frozen):
    """A report. The first line of every rendering is `verdict`.

    figures: every figure by the name that a gate uses, those of one class as `name/class`.
    evaluation_reason: why there is no evaluation.
    environment: of what computed, by stage.
    again: commands and requests that make the same again.
    """

    format: Literal["synthloom-report/1"] = "synthloom-report/1"
    title: str
    verdict: str = Field(min_length=1)
    warnings: tuple[str, ...] = ()
    created: datetime
    software: str
    job: JobPart | None = None
    gate: GateOutcome | None = None
    figures: dict[str, Figure]
    models: tuple[ModelPart, ...] = ()
    evaluation: Evaluation | None = None
    evaluation_reason: str | None = None
    cost: CostPart
    environment: dict[str, dict[str, str]] = {}
    again: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Indented JSON."""
        return self.model_dump_json(indent=2) + "\n"
