"""Intervals and tests of a lift against SciPy and scikit-learn, and the rule of the advice."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, recall_score

from models.evaluation.lift_advice import advise
from models.evaluation.lift_result import Arm, Counts, Difference, Interval, Mean, Score
from models.evaluation.lift_statistics import balanced, difference, mean, recalls

LABELS = np.repeat([0, 1, 2], [40, 25, 90])


def guesses(seed: int, rate: float, seeds: int = 5) -> np.ndarray:
    """Right or wrong, bool [seeds, N]."""
    return np.random.default_rng(seed).random((seeds, len(LABELS))) < rate


def test_balanced_accuracy_is_scikit_learns() -> None:
    said = np.random.default_rng(0).integers(0, 3, len(LABELS))
    right = said == LABELS
    assert balanced(right, LABELS) == pytest.approx(balanced_accuracy_score(LABELS, said))
    wanted = recall_score(LABELS, said, average=None)
    assert list(recalls(right, LABELS).values()) == pytest.approx(wanted)


def test_the_interval_of_a_mean_is_students() -> None:
    values = [0.81, 0.84, 0.79, 0.86]
    found = mean(values, 0.9)
    wanted = stats.t.interval(0.9, 3, np.mean(values), stats.sem(values))
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx(wanted)
    assert mean([0.5], 0.95) == Mean(value=0.5)


def test_over_the_seeds_it_is_the_paired_t_test() -> None:
    ours, theirs = guesses(1, 0.8), guesses(2, 0.7)
    found = difference(ours, theirs, LABELS, "real", 0.95)
    a, b = ([balanced(row, LABELS) for row in rows] for rows in (ours, theirs))
    wanted = stats.ttest_rel(a, b)
    low, high = wanted.confidence_interval(0.95)
    assert found.value == pytest.approx(np.mean(a) - np.mean(b))
    assert (found.over_seeds.low, found.over_seeds.high) == pytest.approx((low, high))
    assert found.p_value_seeds == pytest.approx(wanted.pvalue)


def test_where_seeds_agree_it_is_welchs_test_of_the_images() -> None:
    """With two classes the mean of the recalls' gains is half of a difference of two means."""
    labels = np.repeat([0, 1], [40, 25])
    random = np.random.default_rng(3)
    ours, theirs = (np.tile(random.random(65) < rate, (4, 1)) for rate in (0.9, 0.6))
    found = difference(ours, theirs, labels, "real", 0.95)
    gains = ours[0].astype(float) - theirs[0]
    wanted = stats.ttest_ind(gains[:40], -gains[40:], equal_var=False)
    low, high = wanted.confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx((low / 2, high / 2))
    assert found.p_value == pytest.approx(wanted.pvalue)
    assert found.over_images.low == pytest.approx(low / 2, abs=0.02)
    assert found.over_images.high == pytest.approx(high / 2, abs=0.02)


def test_where_images_agree_it_is_the_paired_t_test() -> None:
    ours, theirs = np.zeros((6, len(LABELS)), bool), np.zeros((6, len(LABELS)), bool)
    ours[:4] = True
    found = difference(ours, theirs, LABELS, "real", 0.95)
    assert found.interval == found.over_seeds
    assert found.p_value == pytest.approx(found.p_value_seeds)


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_of_both_sources_is_wider_than_that_of_the_images(seed) -> None:
    found = difference(guesses(seed, 0.8), guesses(seed + 50, 0.7), LABELS, "real", 0.95)
    assert width(found.interval) > width(found.over_images)
    assert found.interval.low < found.value < found.interval.high
    assert (found.p_value < 0.05) == (not found.interval.low < 0 < found.interval.high)


def test_equal_arms_differ_by_nothing_and_a_class_of_one_image_is_no_error() -> None:
    rows = guesses(0, 0.8)
    assert difference(rows, rows, LABELS, "real", 0.95).p_value == 1
    labels = np.where(np.arange(len(LABELS)) == 0, 3, LABELS)
    found = difference(rows, guesses(1, 0.5), labels, "real", 0.95)
    assert found.interval.low < found.value < found.interval.high


def test_a_measurement_without_lift_is_seldom_called_one() -> None:
    """Of 300 pairs of equally good arms the interval leaves 0 out in about 5 % at the most."""
    random = np.random.default_rng(0)
    misses = 0
    for _ in range(300):
        # What makes an image hard, how a seed leans, and what is left to chance.
        hard = random.normal(0, 1, LABELS.shape)
        arms = [
            hard + random.normal(0, 0.3, (5, 1)) + random.normal(0, 0.7, (5, len(LABELS))) < 1
            for _ in range(2)
        ]
        ends = interval_only(*arms)
        misses += not ends.low < 0 < ends.high
    assert misses / 300 <= 0.06


def interval_only(ours: np.ndarray, theirs: np.ndarray) -> Interval:
    return difference(ours, theirs, LABELS, "real", 0.95, resamples=10).interval


def width(ends: Interval) -> float:
    return ends.high - ends.low


# The advice

COUNTS = Counts(
    train=10, train_per_class={}, validation=5, test=20, test_per_class={}, synthetic=9,
    synthetic_per_class={}, train_duplicates=0, test_duplicates=0,
)  # fmt: skip


def arm(name: str, reached: float, low=0.0, high=1.0, validation: float = 0.9, **fields) -> Arm:
    score = Score(
        seed=0, balanced_accuracy=reached, accuracy=reached, recall={}, validation=validation,
        seconds=1,
    )  # fmt: skip
    ends = Interval(low=low, high=high)
    fields.setdefault("synthetic", "ratio")
    compared = Difference(
        reference="real+classical", value=reached - 0.8, interval=ends, over_seeds=ends,
        over_images=ends, p_value=0.01, p_value_seeds=0.01,
    )  # fmt: skip
    return Arm(
        name=name, classical=True, real_images=10, synthetic_images=9, scores=(score,) * 5,
        balanced_accuracy=Mean(value=reached), accuracy=Mean(value=reached), recall={},
        validation=validation, difference=compared, **fields,
    )  # fmt: skip


PLAIN = [arm("real", 0.7, synthetic="none"), arm("real+classical", 0.8, synthetic="none")]


def advice(*arms: Arm):
    names = [one.name for one in arms if one.synthetic != "none"]
    return advise([*PLAIN, *arms], names, "real+classical", COUNTS, 0.95)


def test_the_ratio_is_chosen_by_validation_and_not_by_the_test() -> None:
    best_on_test = arm("a", 0.95, low=0.1, validation=0.90, ratio=2.0)
    best_validated = arm("b", 0.85, low=0.01, validation=0.92, ratio=0.5)
    found = advice(best_on_test, best_validated)
    assert found.use
    assert (found.arm, found.ratio) == ("b", 0.5)
    assert "adding 0.5 synthetic images for each real one" in found.sentence
    assert "+5.0 points" in found.sentence


@pytest.mark.parametrize(
    ("arms", "sentence"),
    [
        ([arm("a", 0.85, low=-0.001, ratio=1.0)], "no gain that stands out from chance"),
        ([arm("a", 0.75, low=-0.1, high=-0.01, ratio=1.0)], "a loss that stands out from chance"),
        (
            [arm("a", 0.85, low=0.01, ratio=1.0), arm("real repeated", 0.85, synthetic="none")],
            "real repeated reaches as much without synthetic images",
        ),
        ([], "no arm with synthetic images could be compared"),
    ],
)
def test_the_rule_is_conservative(arms, sentence) -> None:
    found = advice(*arms)
    assert not found.use
    assert found.sentence.startswith("Don't: ")
    assert sentence in found.sentence
