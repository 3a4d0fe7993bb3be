"""Does it help? The answer follows from the images, and from none that it is tested on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.corpus.corpus import Corpus
from models.errors import DatasetError
from models.evaluation.lift import measure_lift
from models.evaluation.lift_arms import choose, plan_arms
from models.evaluation.lift_material import prepare
from models.evaluation.lift_options import LiftOptions
from models.evaluation.lift_result import Classical, LiftResult
from models.evaluation.lift_score import augmenter, shrunk
from models.evaluation.lift_table import markdown

QUICK = LiftOptions(
    seeds=3, ratios=(0.5,), balance=False, alone=False, only=False, steps=30, batch_size=64
)
ARMS = ["real", "real+classical", "real+classical+synthetic@0.5"]


class StoppedError(Exception):
    """As a user's Ctrl-C, or a kill, between two classifiers."""


@pytest.fixture(scope="module")
def three(digits):
    """Digits 3, 8 and 9: 140 of each to learn from, the other 117 to test on."""
    places = [np.flatnonzero(digits.labels == label) for label in (3, 8, 9)]

    def part(cut: slice) -> Corpus:
        chosen = np.concatenate([place[cut] for place in places])
        labels = np.searchsorted([3, 8, 9], digits.labels[chosen])
        return Corpus(digits.images[chosen], labels, ("3", "8", "9"))

    return part(slice(140)), part(slice(140, None))


@pytest.fixture(scope="module")
def short(three):
    """The same with 5 eights; the eights held back; images to validate with; the test."""
    train, test = three
    eights, others = np.flatnonzero(train.labels == 1), np.flatnonzero(train.labels != 1)
    return (
        train.take(np.concatenate([others[::2], eights[:5]])),
        train.take(eights[5:110]),
        train.take(np.concatenate([others[1::8], eights[110:]])),
        test,
    )


def noise(like: Corpus, count: int) -> Corpus:
    """Nothing to be seen on it, and labels at random."""
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (count, *like.images.shape[1:]), np.uint8)
    return Corpus(images, random.integers(0, len(like.classes), count), like.classes)


@pytest.fixture(scope="module")
def of_noise(three, tmp_path_factory) -> tuple[LiftResult, Path]:
    """A finished measurement and its cache."""
    train, test = three
    cache = tmp_path_factory.mktemp("lift")
    return measure_lift(train, test, noise(train, 400), QUICK, cache), cache


def test_real_images_of_a_class_that_was_short_are_recommended(short, tmp_path) -> None:
    train, held_back, validation, test = short
    options = QUICK.model_copy(update={"balance": None, "ratios": ()})
    found = measure_lift(train, test, held_back, options, tmp_path, validation=validation)
    assert found.advice.use
    assert found.advice.balance
    assert found.advice.sentence.startswith("Yes: filling the short classes with 65 synthetic")
    chosen = found.arm("real+classical+synthetic@balance")
    assert chosen.synthetic_per_class == {"8": 65}
    assert found.lift is not None
    assert found.lift == chosen.difference
    assert found.lift.interval.low > 0
    reference = found.arm(found.reference)
    assert chosen.recall["8"].value > reference.recall["8"].value + 0.1
    assert found.counts.validation == len(validation)


def test_noise_is_not_recommended(of_noise) -> None:
    found, _ = of_noise
    assert not found.advice.use
    assert found.advice.sentence.startswith("Don't: ")
    assert found.lift is not None
    assert found.lift.interval.low < 0


def test_the_result_says_what_was_compared(of_noise, three) -> None:
    found, _ = of_noise
    _, test = three
    assert [arm.name for arm in found.arms] == ARMS
    assert found.reference == "real+classical"
    assert found.seeds == (0, 1, 2)
    assert found.test_sha256 == test.sha256
    assert found.counts.train_per_class == {"3": 140, "8": 140, "9": 140}
    assert [(arm.real_images, arm.synthetic_images) for arm in found.arms] == [
        (336, 0), (336, 0), (336, 168),
    ]  # fmt: skip
    for arm in found.arms:
        assert [score.seed for score in arm.scores] == [0, 1, 2]
        figures = [score.balanced_accuracy for score in arm.scores]
        assert arm.balanced_accuracy.value == pytest.approx(np.mean(figures))
    found.model_validate_json(found.model_dump_json())


def test_the_table_has_a_row_for_each_arm_and_says_what_was_held_out(of_noise) -> None:
    found, _ = of_noise
    lines = markdown(found).splitlines()
    assert lines[0] == found.advice.sentence
    rows = [line for line in lines if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    assert rows[3].startswith("| real+classical (reference) | 336 | 0 |")
    assert rows[4].startswith("| **real+classical+synthetic@0.5** | 336 | 168 |")
    assert any(found.held_out in line for line in lines)


# Nothing is tested on what was learnt from


@pytest.mark.parametrize("leaks_into", ["train", "synthetic", "validation"])
def test_a_test_image_that_was_learnt_from_is_refused_or_dropped(three, leaks_into) -> None:
    train, test = three
    sets = {"train": train, "synthetic": noise(train, 50), "validation": noise(train, 20)}
    sets[leaks_into] = together(sets[leaks_into], test.take(slice(7)))
    with pytest.raises(DatasetError, match="7 of 117 test images"):
        prepare(test=test, options=QUICK, **sets)
    dropping = QUICK.model_copy(update={"most_shared": 0.1})
    images = prepare(test=test, options=dropping, **sets)
    assert len(images.test) == 110
    assert images.counts.test_duplicates == 7


def test_a_training_image_that_is_there_twice_counts_once(three) -> None:
    train, test = three
    doubled = together(train, train.take(slice(3)))
    images = prepare(doubled, test, noise(train, 9), None, QUICK)
    assert images.train.sha256 == train.sha256
    assert images.counts.train_duplicates == 3


def test_what_chooses_the_ratio_was_not_learnt_from(three) -> None:
    train, test = three
    images = prepare(train, test, noise(train, 9), None, QUICK)
    validated = []
    for seed in range(5):
        learnt, validation = images.part(seed)
        assert not digests(learnt) & digests(validation)
        assert validation.counts.tolist() == [28, 28, 28]
        validated.append(digests(validation))
    assert set.union(*validated) == digests(train)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda one: Corpus(one.images[:, :6], one.labels, one.classes), "synthetic images are"),
        (lambda one: Corpus(one.images, one.labels, ("3", "8", "cat")), "cat"),
    ],
)
def test_images_that_do_not_fit_are_refused(three, spoil, sentence) -> None:
    train, test = three
    with pytest.raises(DatasetError, match=sentence):
        prepare(train, test, spoil(noise(train, 9)), None, QUICK)


def test_classes_are_matched_by_name(three) -> None:
    train, test = three
    of_nines = Corpus(train.images[-5:], np.zeros(5, np.int64), ("9",))
    images = prepare(train.take(slice(-5)), test, of_nines, None, QUICK)
    assert images.synthetic.counts.tolist() == [0, 0, 5]


# Killed, and short of time


def test_a_measurement_that_was_stopped_goes_on(of_noise, three, tmp_path) -> None:
    train, test = three
    whole, cache = of_noise
    seen: list[str] = []

    def stop(what: str, part: float) -> None:
        seen.append(what)
        if len(seen) == 5:  # the first is announced twice
            raise StoppedError

    with pytest.raises(StoppedError):
        measure_lift(train, test, noise(train, 400), QUICK, tmp_path, stop)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(kept) == 3
    damaged = sorted(kept)[0]
    (tmp_path / damaged).write_text('{"guesses": [1')
    again = measure_lift(train, test, noise(train, 400), QUICK, tmp_path)
    for name in kept.keys() - {damaged}:
        assert (tmp_path / name).stat().st_mtime_ns == kept[name]
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in cache.iterdir()}
    for ours, theirs in zip(again.arms, whole.arms, strict=True):
        assert ours.balanced_accuracy == theirs.balanced_accuracy
        assert ours.difference == theirs.difference


def test_other_options_do_not_find_the_classifiers_of_these(of_noise, three, tmp_path) -> None:
    train, test = three
    _, cache = of_noise
    names = {path.name for path in cache.iterdir()}
    options = QUICK.model_copy(update={"steps": 2, "seeds": 2})
    measure_lift(train, test, noise(train, 400), options, tmp_path)
    assert not names & {path.name for path in tmp_path.iterdir()}


def test_what_does_not_fit_into_the_minutes_is_left_out_and_said(of_noise, three) -> None:
    train, test = three
    _, cache = of_noise
    options = QUICK.model_copy(update={"minutes": 1e-6})
    found = measure_lift(train, test, noise(train, 400), options, cache)
    assert [arm.name for arm in found.arms] == ARMS[1:]
    assert [arm.name for arm in found.skipped] == ["real"]
    assert found.seeds == (0, 1)
    assert found.seeds_asked == 3
    assert any("2 of 3 seeds" in note for note in found.notes)


# Arms


def test_arms_that_lack_synthetic_images_are_named(three) -> None:
    train, _ = three
    options = LiftOptions(ratios=(0.5, 2), balance=True)
    plans, skipped = plan_arms(train.take(slice(300)), noise(train, 200), options)
    assert {one.name for one in skipped} == {
        "real+synthetic@2", "real+classical+synthetic@2",
        "real+synthetic@balance", "real+classical+synthetic@balance",
    }  # fmt: skip
    assert "real+classical+synthetic@0.5" in {plan.name for plan in plans}
    assert "600 synthetic images and there are 200" in skipped[0].reason


def test_every_arm_holds_what_its_name_says(short) -> None:
    train, held_back, _, _ = short
    options = LiftOptions(ratios=(0.25, 0.5))
    plans, _ = plan_arms(train, held_back, options)
    of = {plan.name: choose(plan, train, held_back, seed=3) for plan in plans}
    assert "synthetic" not in of  # two classes have no synthetic image
    few, more = (of[f"real+classical+synthetic@{ratio}"].synthetic for ratio in (0.25, 0.5))
    assert len(few) == round(0.25 * len(train))
    assert more[: len(few)].tolist() == few.tolist()
    assert len(set(more.tolist())) == len(more)
    repeated = train.take(of["real repeated+classical"].real)
    assert repeated.counts.tolist() == [70, 70, 70]
    assert digests(repeated) == digests(train)
    filled = of["real+classical+synthetic@balance"]
    assert len(filled.synthetic) == 65
    assert len(filled.real) == len(train)


def test_nothing_is_flipped_unless_it_is_said_to_keep_the_label(three) -> None:
    train, _ = three
    images = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    still = augmenter(Classical(degrees=0, crop=1), train)
    assert torch.equal(still(images), images)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flipped = augmenter(Classical(degrees=0, crop=1, horizontal_flip=True), train)(images)
        moved = augmenter(Classical(), train)(images)
    either = (flipped == images).flatten(1).all(1) | (flipped == images.flip(3)).flatten(1).all(1)
    assert either.all()
    assert not torch.equal(flipped, images)
    assert moved.shape == images.shape
    assert moved.min() >= 0
    assert moved.max() <= 1


def test_large_images_are_averaged_to_what_suits_a_small_network() -> None:
    images = np.zeros((3, 130, 100, 3), np.uint8)
    images[:, :3, :3] = 90
    small = shrunk(Corpus(images, np.zeros(3, np.int64), ("one",)))
    assert small.images.shape == (3, 44, 34, 3)
    assert small.images[0, 0, 0].tolist() == [90, 90, 90]
    assert small.images[0, 1:].max() == 0


def together(first: Corpus, second: Corpus) -> Corpus:
    return Corpus(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.labels, second.labels]),
        first.classes,
    )


def digests(corpus: Corpus) -> set[bytes]:
    return {image.tobytes() for image in corpus.images}
