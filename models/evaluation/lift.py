"""Lift: does a classifier get better when synthetic images are added to the real ones?

    real                        what there is
    real + classical            flips, turns and crops: the reference
    real + synthetic            at several ratios, or filling the short classes
    real + classical + synthetic

All arms learn the same number of steps, with the same seeds, and are tested on the same real
images, which neither a classifier nor the generator may have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.corpus.corpus import Corpus
from models.evaluation.lift_advice import advise
from models.evaluation.lift_arms import (
    Plan,
    affordable,
    choose,
    is_candidate,
    plan_arms,
    reference,
)  # fmt: skip
from models.evaluation.lift_material import Material, prepare
from models.evaluation.lift_options import LiftOptions
from models.evaluation.lift_result import Arm, Difference, LiftResult, Score, Skipped
from models.evaluation.lift_score import WIDTH, Learnt, learnt, shrunk, steps_of
from models.evaluation.lift_statistics import balanced, difference, mean, recalls

FEW = 20
"""Test images of a class below which its recall says little."""

Progress = Callable[[str, float], None]
"""Hears what is done next and which part of the whole is done; may raise, to stop."""


class Answers(NamedTuple):
    """Every classifier's answers, and what was left out."""

    of: dict[Plan, list[Learnt]]
    seeds: tuple[int, ...]
    skipped: tuple[Skipped, ...]
    seconds: float


def measure_lift(
    train: Corpus,
    test: Corpus,
    synthetic: Corpus,
    options: LiftOptions,
    cache: Path,
    progress: Progress = lambda _, __: None,
    *,
    validation: Corpus | None = None,
) -> LiftResult:
    """Train the classifiers of every arm and seed, and compare them.

    train, test: real images; `test` must be new to the generator of `synthetic` too.
    validation: real images that choose the ratio; None keeps parts of `train` out for that.
    cache: folder of finished classifiers by content; a call that was stopped goes on from it.

    Raises DatasetError when the images do not fit together or test images leaked.
    """
    images = prepare(train, test, synthetic, validation, options)
    answers = _answers(images, options, cache, progress)
    arms = [_arm(plan, images, options, answers) for plan in answers.of]
    with_real = tuple(arm for arm in arms if arm.synthetic != "only")
    name = reference(options).name
    candidates = [plan.name for plan in answers.of if is_candidate(plan, options)]
    return LiftResult(
        advice=advise(with_real, candidates, name, images.counts, options.confidence),
        reference=name,
        arms=with_real,
        train_on_synthetic=next((arm for arm in arms if arm.synthetic == "only"), None),
        skipped=answers.skipped,
        classes=images.train.classes,
        seeds=answers.seeds,
        seeds_asked=options.seeds,
        confidence=options.confidence,
        steps=steps_of(options, images.train),
        batch_size=options.batch_size,
        classifier=_classifier(images.train),
        classical=options.classical,
        counts=images.counts,
        train_sha256=images.train.sha256,
        test_sha256=images.test.sha256,
        synthetic_sha256=images.synthetic.sha256,
        held_out=images.held_out,
        notes=tuple(_notes(images, options, answers)),
        seconds=answers.seconds,
    )


def _answers(images: Material, options: LiftOptions, cache: Path, progress: Progress) -> Answers:
    """Seed by seed, so that what is finished can be compared whenever the minutes are over."""
    plans, skipped = plan_arms(images.train, images.synthetic, options)
    first = options.first_seed
    progress(f"classifier 1 ({plans[0].name}, seed {first})", 0.0)
    pilot = learnt(plans[0], first, images, options, cache)
    plans, left = affordable(plans, options, pilot.seconds)
    seeds = range(first, first + options.seeds)
    of: dict[Plan, list[Learnt]] = {plan: [] for plan in plans}
    spent, done = 0.0, 0
    for number, plan in product(range(options.seeds), plans):
        if plan == plans[0] and _over(spent, number, options):
            break
        place = f"{number * len(plans) + plans.index(plan) + 1} of {len(plans) * options.seeds}"
        progress(
            f"classifier {place} ({plan.name}, seed {seeds[number]})",
            (number * len(plans) + plans.index(plan)) / (len(plans) * options.seeds),
        )
        found = learnt(plan, seeds[number], images, options, cache)
        of[plan].append(found)
        spent += found.seconds
        done = number + 1
    return Answers(of, tuple(seeds[:done]), (*skipped, *left), spent)


def _over(spent: float, done: int, options: LiftOptions) -> bool:
    """Whether another seed would not fit into the minutes; two are always measured."""
    if options.minutes is None or done < 2:
        return False
    return spent * (done + 1) / done > options.minutes * 60


def _arm(plan: Plan, images: Material, options: LiftOptions, answers: Answers) -> Arm:
    found = answers.of[plan]
    scores = tuple(
        _score(seed, one, images.test) for seed, one in zip(answers.seeds, found, strict=True)
    )
    real, _ = images.part(answers.seeds[0])
    chosen = choose(plan, real, images.synthetic, answers.seeds[0])
    drawn = images.synthetic.labels[chosen.synthetic]
    level = options.confidence
    return Arm(
        name=plan.name,
        classical=plan.classical,
        synthetic=plan.synthetic,
        ratio=plan.ratio,
        repeated=plan.repeated,
        real_images=len(np.unique(chosen.real)),
        synthetic_images=len(drawn),
        synthetic_per_class=_by_name(drawn, images.train.classes),
        scores=scores,
        balanced_accuracy=mean([score.balanced_accuracy for score in scores], level),
        accuracy=mean([score.accuracy for score in scores], level),
        recall={
            name: mean([score.recall[name] for score in scores], level) for name in scores[0].recall
        },
        validation=float(np.mean([score.validation for score in scores])),
        difference=_difference(plan, images, options, answers),
    )


def _score(seed: int, found: Learnt, test: Corpus) -> Score:
    right = np.asarray(found.guesses) == test.labels
    shares = recalls(right, test.labels)
    return Score(
        seed=seed,
        balanced_accuracy=balanced(right, test.labels),
        accuracy=float(right.mean()),
        recall={test.classes[label]: share for label, share in shares.items()},
        validation=found.validation,
        seconds=found.seconds,
    )


def _difference(
    plan: Plan, images: Material, options: LiftOptions, answers: Answers
) -> Difference | None:
    against = reference(options)
    if plan in (against, Plan(classical=False, synthetic="only")):
        return None
    labels = images.test.labels
    return difference(
        _right(answers.of[plan], labels), _right(answers.of[against], labels), labels,
        against.name, options.confidence,
    )  # fmt: skip


def _right(found: Sequence[Learnt], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """bool [seeds, N]."""
    return np.stack([np.asarray(one.guesses) == labels for one in found])


def _by_name(labels: npt.NDArray[np.int64], classes: tuple[str, ...]) -> dict[str, int]:
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    return {name: count for name, count in zip(classes, counts, strict=True) if count}


def _classifier(train: Corpus) -> str:
    height, width, channels = shrunk(train.take(slice(1))).images.shape[1:]
    network = f"three convolutions ({WIDTH}, {2 * WIDTH}, {2 * WIDTH} channels), two linear layers"
    return f"{network}, on {height}x{width}x{channels}"


def _notes(images: Material, options: LiftOptions, answers: Answers) -> Iterator[str]:
    counts = images.counts
    if counts.train_duplicates:
        yield f"{counts.train_duplicates:,} training images were there twice and dropped once."
    if counts.test_duplicates:
        yield (
            f"{counts.test_duplicates:,} test images were training or synthetic images too and "
            "took no part."
        )
    if len(answers.seeds) < options.seeds:
        yield (
            f"{len(answers.seeds)} of {options.seeds} seeds fitted into {options.minutes:g} "
            "minutes; more would narrow the interval."
        )
    untested = [name for name, count in counts.test_per_class.items() if count == 0]
    if untested:
        yield f"No test image is of {', '.join(untested)}: balanced accuracy is over the others."
    few = [name for name, count in counts.test_per_class.items() if 0 < count < FEW]
    if few:
        yield f"Fewer than {FEW} test images are of {', '.join(few)}: each weighs a lot."
