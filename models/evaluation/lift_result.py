"""What "does it help?" was answered with: arms, differences, intervals, advice. Imports no torch.

All figures are shares between 0 and 1, differences between -1 and 1, so a lift of one point is
0.01. Every interval has the level `LiftResult.confidence`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.spec import ClassName, Frozen, Sha256

Synthetic = Literal["none", "ratio", "balance", "only"]
"""Which synthetic images an arm has: none; a share of the real count; as many of each class as it
lacks of the largest; or nothing else."""


class Interval(Frozen):
    """Both ends."""

    low: float
    high: float


class Mean(Frozen):
    """A mean over the seeds.

    interval: Student's t over the seeds; nothing with fewer than two. It says how other seeds
        would do on these test images.
    """

    value: float
    interval: Interval | None = None


class Score(Frozen):
    """One classifier: what it reached on the test images after learning from one arm.

    validation: balanced accuracy on the images that were kept out of training, by which the
        ratio is chosen.
    """

    seed: int
    balanced_accuracy: float
    accuracy: float
    recall: dict[ClassName, float]
    validation: float
    seconds: float


class Difference(Frozen):
    """Balanced accuracy of an arm less that of `reference`, seed by seed on the same images.

    interval: t of the two sources together, seeds and test images; degrees of freedom by Welch
        and Satterthwaite. The advice looks at this one.
    over_seeds: t over the seeds alone (the paired t test's).
    over_images: percentiles of the bootstrap over the test images alone, class by class, of the
        mean over the seeds.
    p_value: of no difference, two-sided, by the statistic of `interval`.
    p_value_seeds: of the paired t test over the seeds alone.
    """

    reference: str
    value: float
    interval: Interval
    over_seeds: Interval
    over_images: Interval
    p_value: float
    p_value_seeds: float


class Arm(Frozen):
    """One way to train the classifier, the same steps as every other.

    name: "real", "real+classical", "real+synthetic@0.5", "real+classical+synthetic@balance", …
    classical: whether images were also flipped, turned and cropped as `Classical` says.
    repeated: whether real images of the short classes were repeated until classes were even.
    real_images, synthetic_images: what there was to learn from, of one seed.
    synthetic_per_class: the synthetic ones by class.
    difference: to the reference arm; nothing for the reference itself, for "only", and with fewer
        than two seeds.
    """

    name: str
    classical: bool
    synthetic: Synthetic
    ratio: float | None = None
    repeated: bool = False
    real_images: int
    synthetic_images: int
    synthetic_per_class: dict[ClassName, int] = {}
    scores: tuple[Score, ...]
    balanced_accuracy: Mean
    accuracy: Mean
    recall: dict[ClassName, Mean]
    validation: float
    difference: Difference | None = None


class Classical(Frozen):
    """Augmentation without a generator, drawn anew for each image of each batch.

    horizontal_flip, vertical_flip: with probability 1/2; only where a mirrored image keeps its
        label, which the data's owner must say.
    degrees: turned by up to so many to either side.
    crop: a random crop of at least this share of the area, scaled back to the full size.
    """

    horizontal_flip: bool = False
    vertical_flip: bool = False
    degrees: float = Field(10.0, ge=0, le=180)
    crop: float = Field(0.8, gt=0, le=1)


class Advice(Frozen):
    """What to do.

    use: whether synthetic images are recommended.
    arm, ratio, balance: the arm with the best validation figure, chosen without the test images;
        its ratio, or whether it fills the short classes. Nothing when there was none to choose.
    sentence: the answer for a reader, with the figures.
    rule: what it takes to be recommended.
    """

    use: bool
    arm: str | None = None
    ratio: float | None = None
    balance: bool = False
    sentence: str
    rule: str


class Skipped(Frozen):
    """An arm that was asked for and not measured."""

    name: str
    reason: str


class Counts(Frozen):
    """Images by split.

    validation: kept out of training each time, for the choice of the ratio.
    train_duplicates: training images dropped as they were there already.
    test_duplicates: test images dropped, as training or synthetic images hold them too.
    """

    train: int
    train_per_class: dict[ClassName, int]
    validation: int
    test: int
    test_per_class: dict[ClassName, int]
    synthetic: int
    synthetic_per_class: dict[ClassName, int]
    train_duplicates: int
    test_duplicates: int


class LiftResult(Frozen):
    """Whether synthetic images make a classifier better than it is without them.

    arms: with real images; the reference comes second, or first without classical augmentation.
    train_on_synthetic: learnt from synthetic images only, tested on real ones (the classifier
        accuracy score of Ravuri & Vinyals 2019).
    seeds, seeds_asked: fewer were done when the minutes were over.
    held_out: a sentence: which images took no part in what.
    notes: sentences that a reader must know.
    seconds: of computing, that of cached scores included.
    """

    format: Literal[1] = 1
    advice: Advice
    reference: str
    arms: tuple[Arm, ...]
    train_on_synthetic: Arm | None = None
    skipped: tuple[Skipped, ...] = ()
    classes: tuple[ClassName, ...]
    seeds: tuple[int, ...]
    seeds_asked: int
    confidence: float
    steps: int
    batch_size: int
    classifier: str
    classical: Classical | None
    counts: Counts
    train_sha256: Sha256
    test_sha256: Sha256
    synthetic_sha256: Sha256
    held_out: str
    notes: tuple[str, ...] = ()
    seconds: float

    def arm(self, name: str) -> Arm:
        """The arm of that name. Raises KeyError."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise KeyError(name)

    @property
    def lift(self) -> Difference | None:
        """The chosen arm's difference to the reference; nothing when none was chosen."""
        return None if self.advice.arm is None else self.arm(self.advice.arm).difference
