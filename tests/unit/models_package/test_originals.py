"""Distances to the nearest training image of a group, against sums of whole numbers in NumPy."""

from __future__ import annotations

import io

import numpy as np
import pytest

from models.corpus.preprocessing import Preprocessing
from models.corpus.read import open_source
from models.evaluation.features import PixelFeatures
from models.evaluation.nearness import nearness
from models.evaluation.neighbours import nearest
from models.evaluation.originals import EXACT, Originals, read_levels
from tests.builders import image
from tests.made_corpora import png, zipped


def by_hand(queries, groups, levels, of):
    """The least of all distances, one after the other."""
    found = []
    for query, group in zip(queries.astype(np.int64), groups, strict=True):
        same = levels[of == group].astype(np.int64)
        found.append(np.sqrt(((same - query) ** 2).sum(axis=1).min()))
    return np.array(found)


@pytest.mark.parametrize("size", [1, 784, EXACT, 3 * EXACT + 5])
def test_distances_are_exact(size: int) -> None:
    stream = np.random.default_rng(size)
    levels = stream.choice(np.array([0, 1, 128, 254, 255], np.uint8), (90, size))
    of = stream.integers(0, 3, 90)
    queries = stream.integers(0, 256, (40, size)).astype(np.uint8)
    queries[0], groups = levels[7], stream.integers(0, 3, 40)
    groups[0] = of[7]
    found = Originals(levels, of).distances(queries, groups)
    assert (found == by_hand(queries, groups, levels, of)).all()
    assert found[0] == 0
    one_by_one = [Originals(levels, of).distances(queries[k : k + 1], groups[k : k + 1])
                  for k in range(40)]  # fmt: skip
    assert (np.concatenate(one_by_one) == found).all()


def test_training_images_are_compared_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = np.random.default_rng(1)
    levels = stream.integers(0, 256, (100, 20)).astype(np.uint8)
    queries, one = stream.integers(0, 256, (9, 20)).astype(np.uint8), np.zeros(9, np.int64)
    whole = Originals(levels, np.zeros(100, np.int64)).distances(queries, one)
    monkeypatch.setattr("models.evaluation.originals.BLOCK_BYTES", 4 * 20 * 7)
    assert (Originals(levels, np.zeros(100, np.int64)).distances(queries, one) == whole).all()


def test_the_distance_is_that_of_reports() -> None:
    stream = np.random.default_rng(2)
    levels = stream.integers(0, 256, (300, 64)).astype(np.uint8)
    queries = stream.integers(0, 256, (50, 64)).astype(np.uint8)
    ours = Originals(levels, np.zeros(300, np.int64)).distances(queries, np.zeros(50, np.int64))
    assert ours == pytest.approx(nearest(queries.astype(np.float32), levels).distances, rel=1e-6)


def test_a_group_without_images_is_infinitely_far() -> None:
    found = Originals(np.zeros((2, 4), np.uint8), np.array([0, 2]))
    assert found.distances(np.zeros((3, 4), np.uint8), np.array([0, 1, 2])).tolist() == [
        0, np.inf, 0
    ]  # fmt: skip


def test_images_are_brought_to_the_size_of_samples_and_the_space() -> None:
    """A split is read class by class as it is asked for, reduced as the space says."""
    files = {
        f"{split}/{name}/{k}.png": png(np.full((80, 80, 3), 40 * k + shade, np.uint8))
        for split, count in (("train", 5), ("test", 2))
        for name, shade in (("cat", 1), ("dog", 2), ("owl", 3))
        for k in range(count)
    }
    space = PixelFeatures(image(64, 64))
    with open_source(io.BytesIO(zipped(files))) as source:
        levels, groups = read_levels(
            source, "train", lambda label: {1: 5}.get(label, -1),
            Preprocessing(height=64, width=64, channels=1), space, lambda: None,
        )  # fmt: skip
    assert levels.shape == (5, 32 * 32)
    assert groups.tolist() == [5] * 5
    assert levels[:, 0].tolist() == [2, 42, 82, 122, 162]


def test_the_threshold_is_the_percentile_of_one_class() -> None:
    stream = np.random.default_rng(3)
    distances, labels = stream.uniform(1, 9, 400), stream.integers(0, 2, 400)
    found = nearness(distances, labels, np.array([0, 5]), 0.1)
    own = np.sort(distances[labels == 1])
    limit = found.threshold * found.usual[1]
    assert limit == pytest.approx(own[int(np.ceil(0.1 * len(own))) - 1])
