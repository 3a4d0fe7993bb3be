"""What limits the figures of an evaluation, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from models.evaluation.options import CLASSIFIER, EvaluationOptions
from models.evaluation.sides import Sides
from models.evaluation.verdict import COPIED_SHARE, Findings, is_copied

FEW: Final = 50
"""Images of a class below which its figures say little."""
FEW_HOLDOUT: Final = 500
WEAK_JUDGE: Final = 0.8
NAMED: Final = 5


def caveats(sides: Sides, found: Findings, options: EvaluationOptions) -> Iterator[str]:
    """In the order of their weight."""
    yield from _of_the_real(sides)
    yield from _of_the_classifier(sides, found, options)
    yield from _of_the_classes(sides)
    yield from _of_the_copies(sides, found)
    if options.minutes is not None:
        yield (
            f"The budget of {options.minutes:g} minutes allowed {options.sample_limit:,} images in "
            f"each comparison and {options.most_classifier_images:,} for the classifier to learn."
        )


def _of_the_real(sides: Sides) -> Iterator[str]:
    if not sides.unseen:
        yield (
            "No test images were given: samples are compared with a fifth of the training images. "
            "The generator may have seen these, so fidelity may look better than it is."
        )
        return
    known = {image.tobytes() for image in sides.train.images}
    shared = sum(image.tobytes() in known for image in sides.reference.images)
    if shared:
        yield (
            f"{shared:,} of the {len(sides.reference):,} test images are training images too; "
            "they are no measure of anything new."
        )


def _of_the_classifier(sides: Sides, found: Findings, options: EvaluationOptions) -> Iterator[str]:
    if len(sides.train.classes) < 2 and options.backbone == CLASSIFIER:
        yield "With one class there is no classifier: the figures compare plain pixels."
    right = found.agreement.on_test.value
    if right is not None and right < WEAK_JUDGE:
        yield (
            f"The classifier recognises {100 * right:.0f} % of the real images: its label "
            "agreement is a rough measure."
        )
    if not sides.subject.labelled and found.agreement.guessed:
        yield (
            "The samples have no labels: figures by class go by what the classifier takes them for."
        )


def _of_the_classes(sides: Sides) -> Iterator[str]:
    train, samples, reference = sides.train, sides.subject.corpus, sides.reference
    if not sides.subject.labelled:
        return
    absent = [train.classes[label] for label in np.flatnonzero(samples.counts == 0)]
    if absent:
        yield f"There are no samples of {_named(absent)}; nothing is said of these."
    there = samples.counts > 0
    few = there & (np.minimum(samples.counts, reference.counts) < FEW)
    if few.any():
        names = [train.classes[label] for label in np.flatnonzero(few)]
        yield f"There are fewer than {FEW} samples or real images to compare of {_named(names)}."


def _of_the_copies(sides: Sides, found: Findings) -> Iterator[str]:
    copies = found.copies
    if len(sides.reference) < FEW_HOLDOUT:
        yield (
            f"The nearest percent of {len(sides.reference):,} holdout images is a handful: the "
            "threshold of the copy check is rough."
        )
    interval = copies.share.interval
    if interval is not None and interval.low > COPIED_SHARE and not is_copied(copies):
        yield (
            f"{100 * (copies.share.value or 0):.0f} % of the samples are nearer to a training "
            "image than 99 % of unseen real images are, but about as near to real images that the "
            "generator never saw: they are plainer than real images, not copies."
        )


def _named(names: list[str]) -> str:
    left = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {left} more" if left > 0 else "")
