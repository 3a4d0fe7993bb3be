"""Which images a step sees."""

from __future__ import annotations

import numpy as np
import pytest

from models.corpus.corpus import Corpus
from models.errors import TrainingError
from models.training.sampling import Batches, class_shares


def uneven(counts: list[int]) -> Corpus:
    """Images that are their own number, classes of those sizes."""
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Corpus(images, labels, tuple(f"class-{k}" for k in range(len(counts))))


def test_balanced_batches_hold_every_class_as_often():
    """388 : 3,494, the imbalance of a known set of X-rays; 64,000 draws, four standard errors."""
    corpus = uneven([388, 3494])
    batches = Batches(corpus, 64, 0, "balanced")
    labels = np.concatenate([batches.at(step)[1] for step in range(1000)])
    assert abs((labels == 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(len(labels))
    plain = Batches(corpus, 64, 0)
    labels = np.concatenate([plain.at(step)[1] for step in range(60)])
    assert abs((labels == 0).mean() - 0.1) < 0.01


def test_balanced_batches_use_every_image():
    corpus = uneven([20, 200])
    batches = Batches(corpus, 20, 0, "balanced")
    images = np.concatenate([batches.at(step)[0].ravel() for step in range(200)])
    counts = np.bincount(images, minlength=220)
    assert counts.min() > 0
    assert counts[:20].mean() / counts[20:].mean() == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("sampling", ["shuffled", "balanced"])
def test_batches_are_a_function_of_seed_and_step(sampling):
    corpus = uneven([30, 70])
    there, again = Batches(corpus, 8, 1, sampling), Batches(corpus, 8, 1, sampling)
    forward = [there.at(step)[0] for step in range(30)]
    backward = [again.at(step)[0] for step in reversed(range(30))]
    assert all((a == b).all() for a, b in zip(forward, reversed(backward), strict=True))
    assert (Batches(corpus, 8, 2, sampling).at(0)[0] != forward[0]).any()
    assert (np.diff(there.at(5)[1]) >= 0).all()


def test_an_epoch_shows_each_image_once():
    corpus = uneven([30, 70])
    batches = Batches(corpus, 10, 0)
    epoch = [batches.at(step)[0].ravel() for step in range(batches.per_epoch)]
    assert sorted(np.concatenate(epoch)) == list(range(100))
    later = [batches.at(step)[0].ravel() for step in range(batches.per_epoch, 20)]
    assert (np.concatenate(later) != np.concatenate(epoch)).any()


def test_a_class_without_images_takes_no_part():
    shares = class_shares(np.array([0, 2, 2, 2]))
    assert shares.tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])
    assert shares.sum() == pytest.approx(1)


def test_too_few_images_are_refused():
    with pytest.raises(TrainingError, match="do not fill one batch"):
        Batches(uneven([5, 5]), 64, 0)
