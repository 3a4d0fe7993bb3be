"""The figures that a report can have: what each means, and which way is better. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Needs = Literal["job", "against", "lift"]
"""What it takes: a job alone; a real dataset to hold it against; classifiers trained on it too."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a figure before it is measured."""

    title: str
    better: Literal["higher", "lower"]
    meaning: str
    needs: Needs
    by_class: bool = False
    """Whether there is one of each class too."""
    share: bool = True
    """Whether it is a part of a whole, or a difference of two, and so shown in per cent."""


_FEATURES = "in the space of the feature extractor"

KNOWN: Final[dict[str, Known]] = {
    "label_agreement": Known(
        "label agreement", "higher",
        "share of the samples that a classifier, which learnt from real images only, takes for "
        "what their label says", "job", by_class=True,
    ),
    "near_duplicates": Known(
        "near duplicates", "lower",
        "share of the samples that hardly differ from another one of the same class", "job",
    ),
    "refused": Known(
        "refused candidates", "lower",
        "share of all candidates that were drawn and not used", "job",
    ),
    "kid": Known(
        "KID", "lower",
        f"distance of the samples to the real images {_FEATURES}: squared maximum mean "
        "discrepancy with a cubic kernel, unbiased; 0 is alike",
        "against", by_class=True, share=False,
    ),
    "fid": Known(
        "FID", "lower",
        f"distance of the samples to the real images {_FEATURES}: Fréchet distance of two normal "
        "distributions; 0 is alike, and few samples raise it",
        "against", by_class=True, share=False,
    ),
    "precision": Known(
        "precision", "higher",
        f"share of the samples that lie among the real images {_FEATURES}: fidelity",
        "against", by_class=True,
    ),
    "recall": Known(
        "recall", "higher",
        f"share of the real images that lie among the samples {_FEATURES}: diversity",
        "against", by_class=True,
    ),
    "density": Known(
        "density", "higher",
        "how many real images a sample lies among, over how many it should; 1 is alike, and more "
        "is possible", "against", by_class=True, share=False,
    ),
    "coverage": Known(
        "coverage", "higher",
        "share of the real images that have a sample nearby", "against", by_class=True,
    ),
    "copies": Known(
        "copies", "lower",
        "share of the samples that are nearer to a training image than 99 % of unseen real images "
        "are; 1 % is what honest ones have", "against",
    ),
    "nearer_training": Known(
        "nearer to training images", "lower",
        "share of training images among the real images that samples are nearest to; honest ones "
        "have the share of training images among all that were compared", "against",
    ),
    "train_on_synthetic": Known(
        "train on synthetic", "higher",
        "accuracy on real test images of a classifier that learnt from the samples only", "lift",
    ),
    "lift": Known(
        "lift", "higher",
        "balanced accuracy of a classifier that learnt from real images, usual augmentation and "
        "the samples, less that of one that learnt without the samples", "lift",
    ),
}  # fmt: skip
"""Name → what is known, in the order of a table. Figures of one class are called `name/class`."""
