"""The copy check on points whose distances are known, and what is compared with what."""

from __future__ import annotations

import numpy as np
import pytest

from models.corpus.corpus import Corpus
from models.errors import DatasetError
from models.evaluation.balance import balance
from models.evaluation.copies import Side, Space, copies
from models.evaluation.findings import Copies
from models.evaluation.matching import in_words_of, match, thinned
from models.evaluation.nearness import weighted_quantiles
from models.evaluation.sides import take_sides
from models.evaluation.verdict import excess_of, is_copied

SPACE = Space(name="points", holdout="test images", unseen=True)


def side(seed: int, count: int, classes: int = 2) -> Side:
    """Images of noise: class c lies about c · 100, and spreads the wider the larger c is."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % classes
    levels = 40 + 100 * labels[:, None] + draw.normal(size=(count, 64)) * (4 + 10 * labels[:, None])
    images = np.clip(levels, 0, 255).astype(np.uint8).reshape(count, 8, 8, 1)
    return of(Corpus(images, labels, tuple("abcdefgh"[:classes])))


def of(corpus: Corpus) -> Side:
    return Side(corpus, corpus.images.reshape(len(corpus), -1))


TRAIN, TEST = side(0, 600), side(1, 300)


def check(samples: Side, space: Space = SPACE) -> Copies:
    return copies(samples, TRAIN, TRAIN, TEST, space, by_class=True)


def mixed(part: float, count: int = 300) -> Side:
    """That part of the samples is from the training set, the others are new."""
    own, new = round(part * count), side(2, count)
    images = np.concatenate([TRAIN.corpus.images[:own], new.corpus.images[own:]])
    labels = np.concatenate([TRAIN.corpus.labels[:own], new.corpus.labels[own:]])
    return of(Corpus(images, labels, new.corpus.classes))


@pytest.mark.parametrize("part", [0.0, 0.2, 0.5, 1.0])
def test_the_share_is_that_of_the_copies(part: float) -> None:
    found = check(mixed(part))
    assert found.identical == round(300 * part)
    assert found.share.value == pytest.approx(part, abs=0.04)
    assert is_copied(found) == (part > 0)
    assert excess_of(found) == pytest.approx(part, abs=0.2)
    interval = found.share.interval
    assert interval is not None
    assert interval.low <= part + 0.02 <= interval.high + 0.02


def test_plain_samples_are_near_to_everything_and_no_copies() -> None:
    """The middle of a class is nearer to each training image than other images are."""
    new = side(2, 300).corpus
    middle = np.where(new.labels == 0, 40, 140)[:, None, None, None]
    noise = np.random.default_rng(3).normal(size=new.images.shape)
    found = check(of(Corpus((middle + noise).astype(np.uint8), new.labels, new.classes)))
    assert found.share.value == 1.0
    assert not is_copied(found)


@pytest.mark.parametrize("label", [0, 1])
def test_each_class_is_held_against_its_own_distances(label: int) -> None:
    """Images of `a` lie closer together than those of `b`."""
    new = side(2, 600).corpus
    one = of(new.take(new.labels == label))
    assert check(one).share.value == pytest.approx(0.01, abs=0.02)
    noisy = TRAIN.corpus.take(TRAIN.corpus.labels == label)
    changed = np.clip(noisy.images.astype(int) + 1, 0, 255).astype(np.uint8)
    assert check(of(Corpus(changed, noisy.labels, noisy.classes))).share.value == 1.0


def test_without_unseen_images_only_distances_are_judged() -> None:
    found = check(mixed(0.5), Space("points", "spared training images", unseen=False))
    assert found.nearer_training.value is None
    assert "never saw" in (found.nearer_training.reason or "")
    assert is_copied(found)


def test_the_worst_pairs_come_nearest_first_and_name_their_images() -> None:
    found = check(mixed(0.2))
    distances = [pair.distance for pair in found.worst]
    assert len(distances) == 16
    assert distances == sorted(distances)
    for pair in found.worst:
        sample = mixed(0.2).corpus.images[pair.sample]
        assert np.array_equal(sample, TRAIN.corpus.images[pair.training])
        assert pair.sample_class == pair.training_class


def test_quantiles_weigh_their_values() -> None:
    values = np.array([3.0, 1.0, 2.0])
    even = weighted_quantiles(values, np.ones(3), (0.01, 0.34, 1.0))
    assert even.tolist() == [1.0, 2.0, 3.0]
    assert weighted_quantiles(values, np.array([8.0, 1.0, 1.0]), (0.3,)).tolist() == [3.0]


# Who is compared with whom


def test_as_many_of_each_class_are_compared_of_either_kind() -> None:
    real, synthetic = np.array([0] * 50 + [1] * 10), np.array([0] * 20 + [1] * 40 + [2] * 5)
    found = match(real, synthetic, limit=1000, seed=0)
    assert np.bincount(real[found.real]).tolist() == [20, 10]
    assert np.bincount(synthetic[found.synthetic]).tolist() == [20, 10]
    assert len(set(found.synthetic.tolist())) == 30
    assert len(match(real, synthetic, limit=15, seed=0).real) == 15


def test_thinning_keeps_the_proportions_of_the_classes() -> None:
    labels = np.array([0] * 800 + [1] * 200)
    chosen = thinned(labels, 100, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [80, 20]
    assert thinned(labels, 5000, seed=0).tolist() == list(range(1000))


def test_labels_go_by_the_names_of_the_classes() -> None:
    samples = Corpus(TRAIN.corpus.images, TRAIN.corpus.labels, ("b", "a"))
    assert in_words_of(TRAIN.corpus, samples).corpus.labels.tolist()[:3] == [1, 0, 1]


def test_samples_without_labels_are_known_by_their_one_class() -> None:
    samples = Corpus(TRAIN.corpus.images, np.zeros(600, np.int64), ("unlabelled",))
    assert not in_words_of(TRAIN.corpus, samples).labelled


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (Corpus(np.zeros((4, 5, 8, 1), np.uint8), np.zeros(4, np.int64), ("a",)), "same prepro"),
        (Corpus(np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, np.int64), ("a",)), "3 channels"),
        (Corpus(np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, np.int64), ("x",)), "no class 'x'"),
    ],
)
def test_what_does_not_fit_is_refused(samples: Corpus, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        take_sides(samples, TRAIN.corpus, TEST.corpus, seed=0)


def test_nothing_learns_from_test_images() -> None:
    sides = take_sides(TEST.corpus, TRAIN.corpus, TEST.corpus, seed=0)
    learnt = {image.tobytes() for image in sides.learnt.images}
    assert learnt <= {image.tobytes() for image in TRAIN.corpus.images}
    assert not learnt & {image.tobytes() for image in sides.spared.images}
    assert np.array_equal(sides.reference.images, TEST.corpus.images)
    assert sides.spared.counts.tolist() == [60, 60]


def test_without_test_images_the_spared_ones_are_compared_with() -> None:
    sides = take_sides(TEST.corpus, TRAIN.corpus, None, seed=0)
    assert not sides.unseen
    assert np.array_equal(sides.reference.images, sides.spared.images)
    assert np.array_equal(sides.held_out.images, sides.learnt.images)


def test_too_few_real_images_are_refused() -> None:
    with pytest.raises(DatasetError, match="too few"):
        take_sides(TEST.corpus, TRAIN.corpus.take(slice(8)), None, seed=0)


# Balance


def test_shares_before_and_after() -> None:
    labels = np.array([0] * 30 + [1] * 10, np.int64)
    groups = np.array([0] * 20 + [-1] * 20, np.int64)
    blank = np.zeros((40, 4, 4, 1), np.uint8)
    train = Corpus(blank, labels, ("a", "b"), ("north", "south"), groups)
    samples = Corpus(blank, labels, ("a", "b"), ("south", "north"), np.ones(40, np.int64))
    found = balance(train, samples, np.array([0, 20]))
    assert [(row.name, row.real, row.synthetic) for row in found.classes] == [
        ("a", 30, 0),
        ("b", 10, 20),
    ]
    assert [row.together_share for row in found.classes] == [0.5, 0.5]
    assert found.imbalance == (3.0, 1.0)
    assert [(row.name, row.real, row.synthetic) for row in found.groups] == [
        ("north", 20, 40),
        ("south", 0, 0),
    ]
