"""From the dataset that samples must not be copies of to what a plan keeps of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.checks.asked import Copies
from app.checks.planned import PlannedCopies
from app.errors import UnsupportedDatasetError, ValidationError
from app.jobs.merge import TRAIN, PlannedMerge, Split
from models.evaluation.space import name_of, reduced
from models.spec import ImageShape

HOLDOUTS: tuple[Split, ...] = ("test", "validation")
"""Splits whose images no model has learnt from; the first that there is."""
MOST_BYTES = 1 << 30
"""Of training and unseen images as levels, which a worker has in memory: a million of 32 x 32."""
_SHOWN = 50
_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class RealImages:
    """A real dataset as it is pinned, and how its images become like those of a model."""

    dataset: PlannedMerge
    fit: str = "crop"
    resample: str = "lanczos"


def copies_of(
    asked: Copies | None,
    real: RealImages | None,
    image: ImageShape,
    classes: Sequence[str],
    wanted: frozenset[str],
    by_class: bool,
) -> PlannedCopies | None:
    """What is refused as a copy.

    image: size of the samples. classes: of the plan. wanted: those that are asked for. by_class:
    whether the models are asked by class. Raises UnsupportedDatasetError.
    """
    if asked is None:
        return None
    if real is None:
        raise ValidationError(
            'Only a job can be held against an uploaded dataset: leave "copies" out of "checks" '
            "here, or submit it with POST /v1/jobs."
        )
    dataset = real.dataset
    holdout = _holdout_of(dataset)
    if by_class:
        _refuse_missing(wanted, dataset, holdout)
    counted = wanted if by_class else dataset.classes
    shape = reduced(image)
    images = sum(dataset.real(split)[name] for split in (TRAIN, holdout) for name in counted)
    _refuse_large(images, shape, dataset)
    places = {name: label for label, name in enumerate(dataset.classes) if name in wanted}
    return PlannedCopies(
        dataset=dataset.name,
        sha256=dataset.sha256,
        percentile=asked.percentile,
        space=name_of(shape),
        training=TRAIN,
        holdout=holdout,
        fit=real.fit,
        resample=real.resample,
        labels=tuple(places.get(name, -1) for name in classes) if by_class else (),
    )


def _holdout_of(dataset: PlannedMerge) -> Split:
    there = [split for split in HOLDOUTS if split in dataset.counts]
    if TRAIN not in dataset.counts or not there:
        raise UnsupportedDatasetError(
            f"The dataset {dataset.name} has the splits: {', '.join(dataset.counts)}. How near to "
            "a training image is too near, images say that no model has learnt from: upload the "
            'training images in a folder "train", and others of the same kind in "test" (or '
            '"validation").',
            kind="no-holdout",
        )
    return there[0]


def _refuse_missing(wanted: frozenset[str], dataset: PlannedMerge, holdout: Split) -> None:
    known: Mapping[str, int] = dataset.real()
    missing = sorted(wanted - {name for name, count in known.items() if count})
    if missing:
        raise UnsupportedDatasetError(
            f"The dataset {dataset.name} has no training images of: {_listed(missing)}. It has: "
            f"{_listed(dataset.classes)}. Where these are the same things, rename those of the "
            'model with "class_map"; or ask for classes of the dataset only.',
            kind="missing-classes",
            missing_classes=missing[:_KEPT],
            dataset_classes=list(dataset.classes)[:_KEPT],
        )
    if not any(dataset.real(holdout)[name] for name in wanted):
        raise UnsupportedDatasetError(
            f'The split "{holdout}" of the dataset {dataset.name} has no image of the classes '
            f"asked for: {_listed(sorted(wanted))}. Upload it with some of them.",
            kind="no-unseen-images",
            missing_classes=sorted(wanted)[:_KEPT],
            dataset_classes=list(dataset.classes)[:_KEPT],
        )


def _refuse_large(images: int, shape: ImageShape, dataset: PlannedMerge) -> None:
    size = images * shape.bytes
    if size > MOST_BYTES:
        raise UnsupportedDatasetError(
            f"{images:,} training and unseen images of {dataset.name} take {size:,} bytes at "
            f"{shape.height} x {shape.width} x {shape.channels}, and a worker holds at most "
            f"{MOST_BYTES:,}. Ask for fewer classes in one job, or upload a part of them.",
            kind="too-large",
        )


def _listed(names: Sequence[str]) -> str:
    # ascii() keeps control characters of a hostile name out of logs and terminals.
    return ", ".join(ascii(name[:80]) for name in names[:_SHOWN])
