"""The parts of an evaluation, as frozen types with a stable JSON schema. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from models.evaluation.estimate import Figure, FigureName
from models.spec import Frozen, ImageShape, Sha256


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
