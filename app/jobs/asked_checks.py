"""From the checks that a request asks for to those of its plan, and back. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.checks.asked import Bounds, Checks, LabelAgreement, NearDuplicates
from app.checks.planned import PlannedAgreement, PlannedChecks, PlannedDuplicates, Range
from app.errors import JobTooLargeError, UnknownClassifierError, ValidationError
from app.jobs.asked_copies import RealImages, copies_of
from app.jobs.labelled_by import newness
from models.classifier_spec import ClassifierSpec
from models.spec import ImageShape

MOST_COMPARED_EXACTLY = 20_000_000
"""Samples whose hashes are sorted on one worker: half a GB of its memory."""
MOST_COMPARED = 200_000
"""Samples that are compared pair by pair, which takes the square of their number."""


@dataclass(frozen=True, slots=True)
class AskedFor:
    """What checks have to know of the rest of a request."""

    image: ImageShape
    classes: tuple[str, ...]
    """Of the plan."""
    wanted: frozenset[str]
    """Those of which samples are asked for."""
    by_class: bool
    """Whether the models are asked by class."""
    samples: int
    labelled: bool
    """Whether a classifier labels what they draw."""
    classifiers: Sequence[ClassifierSpec]
    real: RealImages | None = None
    """The dataset of `copies`, where there is one."""


def checks_of(asked: Checks | None, rest: AskedFor) -> PlannedChecks | None:
    """The checks of a plan; None where nothing is checked.

    Raises UnknownClassifierError, and ValidationError for a check that makes no sense here.
    """
    if asked is None:
        return None
    planned = PlannedChecks(
        brightness=_range_of(asked.brightness),
        contrast=_range_of(asked.contrast),
        label_agreement=_agreement_of(asked.label_agreement, rest),
        near_duplicates=_duplicates_of(asked.near_duplicates, rest.samples),
        copies=copies_of(
            asked.copies, rest.real, rest.image, rest.classes, rest.wanted, rest.by_class
        ),
    )
    return planned if planned != PlannedChecks() else None


def _agreement_of(asked: LabelAgreement | None, rest: AskedFor) -> PlannedAgreement | None:
    if asked is None:
        return None
    if rest.labelled:
        raise ValidationError(
            'The classifier of "labelled_by" names the class of every sample already: give its '
            '"min_confidence" there, and leave "label_agreement" out.'
        )
    if not rest.by_class:
        raise ValidationError(
            "Samples that are not asked for by class have no label that a classifier could agree "
            'with: leave "label_agreement" out.'
        )
    judge = _judge_of(asked, rest)
    places = {name: place for place, name in enumerate(judge.classes)}
    labels = tuple(places.get(name, -1) for name in rest.classes)
    return PlannedAgreement(judge.name, judge.version, judge.sha256, asked.min_confidence, labels)


def _duplicates_of(asked: NearDuplicates | None, samples: int) -> PlannedDuplicates | None:
    if asked is None:
        return None
    most = MOST_COMPARED if asked.distance else MOST_COMPARED_EXACTLY
    if samples > most:
        raise JobTooLargeError(
            f"Near duplicates with a distance of {asked.distance} are looked for among at most "
            f"{most} samples. Split the job, or leave the check out.",
            limit=most,
        )
    return PlannedDuplicates("phash", asked.distance)


def _judge_of(asked: LabelAgreement, rest: AskedFor) -> ClassifierSpec:
    """The classifier that is asked for, or the only one that fits; of a name the newest."""
    fits = [
        spec
        for spec in sorted(rest.classifiers, key=newness, reverse=True)
        if spec.image == rest.image and rest.wanted <= set(spec.classes)
    ]
    names = list(dict.fromkeys(spec.name for spec in fits))
    if asked.classifier is None and len(names) > 1:
        raise ValidationError(
            f"Several classifiers know these classes: {', '.join(names)}. Name one of them as "
            '"classifier" of "label_agreement".'
        )
    for spec in fits:
        if asked.classifier in (None, spec.name, spec.ref):
            return spec
    shown = "" if asked.classifier is None else f" {asked.classifier[:80]!a}"
    size = f"{rest.image.height} x {rest.image.width} x {rest.image.channels}"
    advice = f"Take {' or '.join(names)}" if names else 'Leave "label_agreement" out'
    raise UnknownClassifierError(
        f"There is no classifier{shown} that knows all classes asked for at {size}. {advice}.",
        classifiers=[spec.ref for spec in fits],
    )


def _range_of(bounds: Bounds | None) -> Range | None:
    if bounds is None:
        return None
    return Range(
        0.0 if bounds.min is None else bounds.min, 1.0 if bounds.max is None else bounds.max
    )


def asked_again(checks: PlannedChecks | None) -> dict[str, Any]:
    """The checks as a request that gives the same plan has them."""
    if checks is None:
        return {}
    ranges = {"brightness": checks.brightness, "contrast": checks.contrast}
    found: dict[str, Any] = {
        name: {"min": allowed.least, "max": allowed.most}
        for name, allowed in ranges.items()
        if allowed is not None
    }
    if (agreement := checks.label_agreement) is not None:
        found["label_agreement"] = {
            "classifier": agreement.ref,
            "min_confidence": agreement.min_confidence,
        }
    if checks.copies is not None:
        found["copies"] = {
            "dataset": checks.copies.dataset,
            "percentile": checks.copies.percentile,
        }
    if checks.near_duplicates is not None:
        found["near_duplicates"] = {"distance": checks.near_duplicates.distance}
    return found


def options_of(checks: PlannedChecks | None) -> list[str]:
    """The same as words of `synthloom generate`."""
    words = []
    for name, check in asked_again(checks).items():
        if name == "copies":
            words += ["--copies", check["dataset"]]
            words += ["--copies-percentile", f"{check['percentile']!r}"]
            continue
        match name:
            case "label_agreement":
                value = f"{check['classifier']}:{check['min_confidence']!r}"
            case "near_duplicates":
                value = f"{check['distance']}"
            case _:
                value = f"{check['min']!r}..{check['max']!r}"
        words += ["--check", f"{name}={value}"]
    return words
