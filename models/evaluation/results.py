"""What an evaluation found, as frozen types with a stable JSON schema. Imports no torch.

Every figure carries what it needs to be read alone: interval, sample counts, the feature
extractor behind it, and, where it could not be measured, the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, JsonValue, model_validator

from models.evaluation.lift_result import LiftResult
from models.spec import Frozen, ImageShape, Sha256

EVALUATION_FILE: Final = "evaluation.json"

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


class Material(Frozen):
    """A set of images that took part: the subject, the training images or the test images.

    kind: a model is drawn from, a dataset is read. sha256: of images and labels.
    """

    name: str
    kind: Literal["model", "dataset"] = "dataset"
    sha256: Sha256
    image: ImageShape
    count: int = Field(ge=0)
    per_class: dict[str, int]
    facts: dict[str, JsonValue] = {}


class Real(Frozen):
    """What the subject was held against.

    test: absent when none was given; then a part of the training images that the classifier did
    not see takes its place, and a warning says so.
    """

    train: Material
    test: Material | None


class Backbone(Frozen):
    """A feature extractor. size: length of a feature vector; note: how it was made."""

    name: str
    sha256: Sha256
    size: int = Field(ge=1)
    note: str = ""


class Fidelity(Frozen):
    """Synthetic against real images in the space of a feature extractor.

    overall, per_class: figures by `FIDELITY`; classes by name, those with samples only.
    held_out: the same figures of real images that took no part, against the same reference: what
        a perfect generator would get.
    held_out_per_class: that by class.
    """

    backbone: Backbone
    overall: dict[FigureName, Figure]
    per_class: dict[str, dict[FigureName, Figure]]
    held_out: dict[FigureName, Figure]
    held_out_per_class: dict[str, dict[FigureName, Figure]] = {}


class Pair(Frozen):
    """A sample and the training image nearest to it, by their positions, and their distance.

    Distances are relative: 1 is the usual (median) distance of an unseen real image to the
    training images of that class.
    """

    sample: int = Field(ge=0)
    training: int = Field(ge=0)
    distance: float = Field(ge=0)
    sample_class: str
    training_class: str


class Copies(Frozen):
    """How near the samples come to training images, held against how near unseen images come.

    space: where distances are taken. They are relative, see `Pair`.
    threshold: the holdout's 1st percentile of distances to the training images, its classes
        weighted like the samples'.
    share: samples closer than that; 0.01 of honest ones are.
    nearer_training: of the real images that are nearest to a sample, the share of training images,
        the others being holdout images. Absent without images the generator never saw.
    nearer_training_expected: that share of honest samples: of training images among both.
    identical: samples equal to a training image in every pixel.
    quantiles: of the distances, at 1, 10, 50, 90 and 99 percent.
    worst: the nearest pairs, nearest first; worst_picture: the name of their picture.
    """

    space: str
    threshold: float
    share: Figure
    nearer_training: Figure
    nearer_training_expected: float | None = None
    identical: int = Field(ge=0)
    holdout: str
    quantiles: dict[Literal["samples", "holdout"], tuple[float, float, float, float, float]]
    worst: tuple[Pair, ...]
    worst_picture: str | None = None


class ShareRow(Frozen):
    """A class or group: how many, and which part of the whole, before and after."""

    name: str
    real: int = Field(ge=0)
    synthetic: int = Field(ge=0)
    real_share: float = Field(ge=0, le=1)
    together_share: float = Field(ge=0, le=1)


class Balance(Frozen):
    """Class and group shares of the real training images, and with the samples added.

    imbalance: count of the largest class over that of the smallest, before and after; absent
        where a class is empty.
    groups: empty where the data has no group column; the samples' part is 0 where they have none.
    """

    classes: tuple[ShareRow, ...]
    groups: tuple[ShareRow, ...] = ()
    imbalance: tuple[float | None, float | None]


class Agreement(Frozen):
    """Whether samples are what their labels say, by a classifier that saw real images only.

    overall: absent for a subject without labels. groups: by group, where samples have one.
    guessed: share of the samples by the classifier's verdict.
    on_test: accuracy of the classifier itself on real images that it did not see.
    """

    classifier: str
    overall: Figure
    per_class: dict[str, Figure]
    groups: dict[str, Figure] = {}
    guessed: dict[str, float]
    on_test: Figure
    on_test_per_class: dict[str, Figure]


class Appearance(Frozen):
    """Plain properties of pixels, samples over real: 1 is alike.

    roughness: mean difference of neighbouring pixels; noise raises it, blur lowers it.
    contrast: standard deviation of the pixels of an image.
    brightness: mean of the pixels.
    diversity: root mean square distance of feature vectors to the mean of their class, mean of the
        classes; 0 when all samples of each are the same.
    """

    roughness: float
    contrast: float
    brightness: float
    diversity: float
    diversity_per_class: dict[str, float] = {}


class Cost(Frozen):
    """Seconds by stage, as they were spent when each part was measured (resumed runs too)."""

    seconds: dict[str, float]
    total_seconds: float = Field(ge=0)
    budget_minutes: float | None = None


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
