"""Whole evaluations of samples whose fault is known, made of handwritten digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.corpus.corpus import Corpus
from models.evaluation.budget import within
from models.evaluation.evaluate import evaluate
from models.evaluation.options import EvaluationOptions
from models.evaluation.results import EVALUATION_FILE, Evaluation, Kind, read_evaluation
from models.evaluation.sides import take_sides
from models.gan import ConvGan, ConvOptions
from models.generator import sample

OPTIONS = EvaluationOptions(lift=False, most_classifier_images=8_000)
Split = tuple[Corpus, Corpus, Corpus]
Measure = Callable[..., Evaluation]


@pytest.fixture(scope="module")
def split(digits: Corpus) -> Split:
    """Training images, test images, and others that make up honest samples."""
    order = np.random.default_rng(0).permutation(len(digits))
    return digits.take(order[:700]), digits.take(order[700:1300]), digits.take(order[1300:])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the classifier of these images is kept, for all tests."""
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def measure(split: Split, folder: Path) -> Measure:
    train, test, _ = split

    def measured(samples: Corpus, **changes: Any) -> Evaluation:
        return evaluate(samples, train, test, OPTIONS.model_copy(update=changes), folder)

    return measured


def changed(corpus: Corpus, images: Any) -> Corpus:
    return Corpus(np.clip(images, 0, 255).astype(np.uint8), corpus.labels, corpus.classes)


def honest(split: Split) -> Corpus:
    return split[2]


def copies(split: Split) -> Corpus:
    return split[0].take(slice(200, 700))


def third_copied(split: Split) -> Corpus:
    train, _, others = split
    images = np.concatenate([train.images[:150], others.images[:350]])
    labels = np.concatenate([train.labels[:150], others.labels[:350]])
    return Corpus(images, labels, train.classes)


def near_copies(split: Split) -> Corpus:
    """Training images with noise that is hardly seen."""
    own = split[0].take(slice(500))
    return changed(own, own.images + np.random.default_rng(1).normal(0, 8, own.images.shape))


def nine_collapsed(split: Split) -> Corpus:
    """50 of each class, all but the last of them the same but for a little noise."""
    others, draw = split[2], np.random.default_rng(1)
    images, labels = [], []
    for label in range(10):
        own = others.images[others.labels == label]
        kept = own[:50] if label == 9 else np.repeat(own[:1], 50, axis=0)
        images.append(kept + draw.normal(0, 6, kept.shape) * (label < 9))
        labels.append(np.full(len(kept), label))
    whole = np.concatenate(labels).astype(np.int64)
    return changed(Corpus(np.zeros((len(whole), 8, 8, 1), "u1"), whole, others.classes),
                   np.concatenate(images))  # fmt: skip


def noisy(split: Split) -> Corpus:
    others = split[2]
    return changed(others, others.images + np.random.default_rng(1).normal(0, 80, (497, 8, 8, 1)))


def untrained(split: Split) -> Corpus:
    generator = ConvGan(split[0].image, 16, 10, ConvOptions(base=8))
    z = np.random.default_rng(1).standard_normal((500, 16)).astype(np.float32)
    labels = np.arange(500, dtype=np.int64) % 10
    return Corpus(sample(generator, z, labels).pixels, labels, split[0].classes)


def wrong_labels(split: Split) -> Corpus:
    others = split[2]
    shuffled = np.random.default_rng(1).permutation(others.labels)
    return Corpus(others.images, shuffled, others.classes)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (honest, Kind.FINE, "No fault found"),
        (copies, Kind.COPIES, "Copies: 100 %"),
        (third_copied, Kind.COPIES, "Copies: 3"),
        (near_copies, Kind.COPIES, "Copies: "),
        (nine_collapsed, Kind.COLLAPSED, "Do not use: 9 of 10 classes have collapsed"),
        (noisy, Kind.NOISY, "Noisy: "),
        (untrained, Kind.UNTRAINED, "Looks untrained"),
        (wrong_labels, Kind.MISLABELLED, "Wrong labels: "),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_first_line_says_what_is_wrong(
    measure: Measure, split: Split, make: Callable[[Split], Corpus], kind: Kind, words: str
) -> None:
    found = measure(make(split))
    assert found.kind is kind, found.verdict
    assert found.verdict.startswith(words)


def test_a_perfect_copier_passes_fidelity(measure: Measure, split: Split) -> None:
    found = measure(copies(split))
    fidelity = found.fidelity
    for name in ("precision", "coverage"):
        ours, theirs = fidelity.overall[name].value, fidelity.held_out[name].value
        assert ours is not None
        assert ours > 0.9 * (theirs or 0)
    assert found.copies.share.value == 1.0
    assert found.copies.identical == 500


def test_the_report_is_whole_and_can_be_read_again(
    measure: Measure, split: Split, folder: Path
) -> None:
    found = measure(honest(split))
    assert read_evaluation(folder) == found
    figures = found.figures()
    assert {"kid", "fid", "kid/3", "label_agreement/3", "copies"} <= set(figures)
    for figure in figures.values():
        assert figure.value is not None or figure.reason
        assert figure.backbone or figure.value is None
    assert "absent" not in figures
    assert (figures["fid"].reason or "").startswith("FID compares covariances")
    for file in found.pictures.values():
        assert (folder / file).read_bytes().startswith(b"\x89PNG")
    assert set(found.pictures) >= {"overview", "copies", "balance", "class/0"}
    assert found.lift is None
    assert found.lift_reason == "it was not asked for"


class StoppedError(Exception):
    """What a caller's progress raises."""


def test_a_stopped_evaluation_goes_on_where_it_was(
    measure: Measure, split: Split, tmp_path: Path
) -> None:
    train, test, others = split
    calls: list[str] = []

    def stop(words: str, done: float) -> None:
        calls.append(words)
        if "training images" in words and done > 0.5:
            raise StoppedError

    with pytest.raises(StoppedError):
        evaluate(others, train, test, OPTIONS, tmp_path, stop)
    assert not (tmp_path / EVALUATION_FILE).exists()
    known = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    assert {path.name.split("-")[0] for path in known} == {"classifier", "fidelity"}
    found = evaluate(others, train, test, OPTIONS, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in known} == known
    uninterrupted = measure(others)
    assert (found.fidelity, found.copies) == (uninterrupted.fidelity, uninterrupted.copies)


def test_a_damaged_part_is_measured_again(split: Split, measure: Measure, folder: Path) -> None:
    first = measure(honest(split))
    for path in (folder / "parts").glob("looks-*.json"):
        path.write_text("{")
    assert measure(honest(split)).appearance == first.appearance


def test_samples_without_labels(measure: Measure, split: Split) -> None:
    others = split[2]
    bare = Corpus(others.images, np.zeros(len(others), np.int64), ("unlabelled",))
    found = measure(bare)
    assert found.kind is Kind.FINE, found.verdict
    assert found.agreement.overall.value is None
    assert sum(found.agreement.guessed.values()) == pytest.approx(1.0)
    assert any("no labels" in warning for warning in found.warnings)
    added = {row.name: row.synthetic for row in found.balance.classes}
    assert sum(added.values()) == pytest.approx(len(others), abs=5)
    assert min(added.values()) > 20


def test_some_classes_only(measure: Measure, split: Split) -> None:
    others = split[2]
    few = others.take(others.labels < 3)
    found = measure(Corpus(few.images, few.labels, ("0", "1", "2")))
    assert found.kind is Kind.FINE, found.verdict
    assert set(found.fidelity.per_class) == {"0", "1", "2"}
    assert any("no samples of 3, 4" in warning for warning in found.warnings)


def test_without_test_images(split: Split, folder: Path) -> None:
    train, _, others = split
    found = evaluate(others, train, None, OPTIONS, folder)
    assert found.real.test is None
    assert found.kind is Kind.FINE, found.verdict
    assert found.copies.nearer_training.value is None
    assert any("No test images" in warning for warning in found.warnings)
    assert evaluate(copies(split), train, None, OPTIONS, folder).kind is Kind.COPIES


def test_one_class_is_compared_by_pixels(split: Split, tmp_path: Path) -> None:
    train, test, others = (one.take(one.labels == 3) for one in split)
    train, test, others = (
        Corpus(one.images, np.zeros(len(one), np.int64), ("three",))
        for one in (train, test, others)
    )
    found = evaluate(others, train, test, OPTIONS, tmp_path)
    assert found.kind is Kind.FINE, found.verdict
    assert found.fidelity.backbone.name == "pixels 8x8"
    assert found.agreement.overall.value is None


def test_the_classifier_learns_the_same_whatever_the_test_images_are(split: Split) -> None:
    train, test, others = split
    learnt = [take_sides(others, train, some, seed=0).learnt.sha256 for some in (test, others)]
    assert learnt[0] == learnt[1]


def test_a_budget_bounds_what_is_learnt_and_compared() -> None:
    bounded = within(OPTIONS.model_copy(update={"minutes": 0.6, "most_classifier_images": 10**6}))
    assert (bounded.sample_limit, bounded.most_classifier_images) == (600, 12_000)
    assert within(OPTIONS) == OPTIONS
