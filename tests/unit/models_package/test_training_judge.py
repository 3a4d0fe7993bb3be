"""The snapshot that is kept is the one whose samples are best, and few samples are seen as few."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.corpus.corpus import Corpus
from models.files import WEIGHTS_FILE, read_spec
from models.generator import Generator
from models.spec import ImageShape
from models.training.callbacks import Callback, Snapshot
from models.training.health import Watch, collapse
from models.training.holdout import Parts, hold_out
from models.training.judging import judge_of, turned, weakness
from models.training.reduced import reduced
from models.training.selection import Judge, kernel_distance
from models.training.session import start
from models.training.snapshots import Judged, Row, Snapshots
from tests.trainings import small

IMAGE = ImageShape(height=8, width=8, channels=1)


class Copier(Generator):
    """Real images of the class it is asked for, by its latent; the best generator there can be.

    lie: it takes that many classes further on. spread: of its images of a class; 1 takes all.
    noise: how much of another pattern is added to every image.
    """

    family = "gan"
    value_range = (0.0, 1.0)

    def __init__(
        self, corpus: Corpus, classes: int = 10, lie: int = 0, spread: float = 1.0,
        noise: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(corpus.image, 6, classes)
        self.anchor = torch.nn.Linear(1, 1)
        self.images = torch.from_numpy(corpus.images).permute(0, 3, 1, 2) / 255
        self.places = [np.flatnonzero(corpus.labels == label) for label in range(10)]
        self.grain = torch.randn(6, corpus.image.bytes, generator=torch.Generator().manual_seed(0))
        self.lie, self.spread, self.noise = lie, spread, noise

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        asked = torch.arange(len(z)) % 10 if labels is None else (labels + self.lie) % 10
        draws = torch.special.ndtr(z[:, 0]).tolist()  # evenly in (0, 1)
        chosen = [
            self.places[label][int(draw * self.spread * len(self.places[label]))]
            for label, draw in zip(asked.tolist(), draws, strict=True)
        ]
        images = self.images[torch.tensor(chosen)]
        grain = (z @ self.grain).reshape(images.shape)
        return (images + self.noise * grain).clamp(0, 1)


@pytest.fixture(scope="module")
def parts(digits: Corpus) -> Parts:
    return hold_out(digits, 0.2, seed=0)


@pytest.fixture(scope="module")
def judge(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    assert parts.validation is not None
    folder = tmp_path_factory.mktemp("judge")
    found = judge_of(folder, small("cgan", steps=1), parts.train, parts.validation)
    assert found is not None
    return found


def test_real_images_have_the_best_figures(judge: Judge, parts: Parts) -> None:
    assert judge.accuracy is not None
    assert judge.accuracy > 0.9
    found = judge.judge(Copier(parts.train))
    assert abs(found.kid) < 0.03
    assert found.label_agreement is not None
    assert found.label_agreement > 0.95
    assert found.diversity == pytest.approx(1, abs=0.15)
    assert (found.samples, found.real_images) == (1000, 359)
    assert collapse(found, 1) is None


@pytest.mark.parametrize(
    ("worse", "figure"),
    [
        ({"lie": 1}, "label_agreement"),
        ({"noise": 0.2}, "kid"),
        ({"spread": 0.02}, "diversity"),
    ],
)
def test_what_is_wrong_shows_in_its_figure_and_in_the_score(
    judge: Judge, parts: Parts, worse: dict[str, float], figure: str
) -> None:
    good, bad = judge.judge(Copier(parts.train)), judge.judge(Copier(parts.train, **worse))  # type: ignore[arg-type]
    assert bad.score > good.score + 0.05
    if figure == "kid":
        assert bad.kid > good.kid + 0.05
    else:
        assert getattr(bad, figure) < 0.8 * getattr(good, figure)


def test_a_generator_that_ignores_its_latent_has_collapsed(judge: Judge, parts: Parts) -> None:
    found = judge.judge(Copier(parts.train, spread=1e-9))
    assert found.distinct == 10 / 1000  # one image a class
    finding = collapse(found, 7)
    assert finding is not None
    assert finding.code == "collapsed"
    assert "Only 1% of 1000 samples are distinct" in finding.detail


def test_one_mode_a_class_is_a_collapse_though_no_two_images_are_equal(
    judge: Judge, parts: Parts
) -> None:
    found = judge.judge(Copier(parts.train, spread=1e-9, noise=0.005))
    assert found.distinct > 0.5
    finding = collapse(found, 7)
    assert finding is not None
    assert "as far from one another as real images" in finding.detail


def test_without_a_class_there_is_no_agreement(judge: Judge, parts: Parts) -> None:
    found = judge.judge(Copier(parts.train, classes=0))
    assert found.label_agreement is None
    assert found.score < 0.1


def test_images_of_one_class_are_judged_by_their_turns(digits: Corpus, tmp_path: Path) -> None:
    sevens = Corpus(digits.images, np.zeros(len(digits), np.int64), ("digit",))
    train, kept = hold_out(sevens, 0.2, seed=0)
    assert kept is not None
    found = judge_of(tmp_path, small("vae", steps=1, conditional=False), train, kept)
    assert found is not None
    assert found.accuracy is None
    assert weakness(found, kept) == []
    good = found.judge(Copier(digits, classes=0))
    assert found.judge(Copier(digits, classes=0, noise=0.2)).kid > good.kid + 0.05


def test_a_turn_is_a_turn(digits: Corpus) -> None:
    shown = turned(digits, seed=1)
    assert np.bincount(shown.labels).min() > 300
    for turn in range(4):
        one = int(np.flatnonzero(shown.labels == turn)[0])
        assert (np.rot90(digits.images[one], turn) == shown.images[one]).all()
    tall = Corpus(digits.images[:, :, :6], digits.labels, digits.classes)
    assert set(turned(tall, seed=1).labels) == {0, 2}


def test_the_kernel_distance_is_that_of_its_definition() -> None:
    draw = np.random.default_rng(0)
    real, made = draw.normal(size=(7, 5)), draw.normal(0.5, 1, size=(6, 5))

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 5 + 1) ** 3)

    def within(points: np.ndarray) -> float:
        pairs = [kernel(a, b) for i, a in enumerate(points) for j, b in enumerate(points) if i != j]
        return float(np.mean(pairs))

    between = np.mean([kernel(a, b) for a in real for b in made])
    wanted = within(real) + within(made) - 2 * between
    assert kernel_distance(real, made) == pytest.approx(wanted)


def test_the_judge_sees_large_images_small() -> None:
    images = np.arange(2 * 64 * 48 * 3, dtype=np.uint32).reshape(2, 64, 48, 3).astype(np.uint8)
    shown = reduced(images)
    assert shown.shape == (2, 32, 24, 3)
    exact = images.reshape(2, 32, 2, 24, 2, 3).mean(axis=(2, 4))
    assert np.abs(shown - exact).max() <= 1
    assert reduced(images[:, :20, :20]).shape == (2, 20, 20, 3)


# Which snapshots stay


def figures(score: float) -> Judged:
    return Judged(score=score, kid=score, distinct=1.0, samples=10, real_images=10)


def taken(folder: Path, keep: int, scores: dict[int, float]) -> Snapshots:
    snapshots = Snapshots(folder, keep)
    for step, score in scores.items():
        row = Row(step=step, seconds=0.0, judged=figures(score))
        snapshots.folder(row).mkdir(parents=True)
        (snapshots.folder(row) / "spec.json").write_text("{}")
        snapshots.add(row)
        snapshots.prune()
    return snapshots


def test_the_best_ones_stay_and_the_others_go(tmp_path: Path) -> None:
    snapshots = taken(tmp_path, 2, {10: 0.5, 20: 0.1, 30: 0.3, 40: 0.9})
    assert snapshots.best is not None
    assert snapshots.best.step == 20
    assert snapshots.since_best == 2
    names = sorted(path.name for path in (tmp_path / "snapshots").iterdir())
    assert names == ["step-0000020", "step-0000030"]
    again = Snapshots(tmp_path, 2)
    assert again.rows == snapshots.rows
    again.rewind(10)
    assert [row.step for row in again.rows] == [10]


class Spoiler(Callback):
    """Wipes most of the average out after the first snapshot."""

    def __init__(self) -> None:
        self.spoilt = False

    def snapshot(self, snapshot: Snapshot) -> None:
        if not self.spoilt:
            self.spoilt = True
            for parameter in snapshot.average.parameters():
                parameter.mul_(0.1)


def test_the_better_of_two_snapshots_is_shipped(digits: Corpus, tmp_path: Path) -> None:
    run = small("cvae", steps=51, snapshot_steps=50, validation=0.2)
    outcome = start(run, digits.take(slice(600)), tmp_path, [Spoiler()])
    first, second = Snapshots(tmp_path, 3).rows
    assert first.judged is not None
    assert second.judged is not None
    assert (first.step, second.step) == (50, 51)
    assert first.judged.score < second.judged.score
    assert outcome.chosen.step == outcome.spec.training["chosen_step"] == 50
    kept = read_spec(tmp_path / "snapshots" / "step-0000050").weights
    assert outcome.spec.weights == kept
    assert sha256((tmp_path / WEIGHTS_FILE).read_bytes()).hexdigest() == kept.sha256


def test_a_run_ends_when_its_figure_does_not_improve(digits: Corpus, tmp_path: Path) -> None:
    still = small(
        "vae", steps=500, snapshot_steps=2, validation=0.2, patience=3,
        settings={"generator_rate": 1e-12, "partner_rate": 1e-12, "average_decay": 0.0},
    )  # fmt: skip
    outcome = start(still, digits.take(slice(300)), tmp_path)
    assert outcome.ended == "patience"
    assert outcome.progress.step == 8
    assert outcome.chosen.step == 2


# Losses


def test_a_discriminator_that_has_won_is_seen() -> None:
    watch = Watch("hinge")
    for step in range(600):
        watch.see(step, {"discriminator": 2 * 0.98**step, "generator": 3.0})
    finding = watch.saturated(600)
    assert finding is not None
    assert finding.code == "saturated"
    assert watch.keep(finding)
    assert not watch.keep(finding.model_copy(update={"step": 700}))
    again = Watch("hinge")
    again.load(watch.dump())
    assert (again.recent, again.findings) == (watch.recent, watch.findings)
    fair = Watch("hinge")
    for step in range(600):
        fair.see(step, {"discriminator": 1.8, "generator": 0.2})
    assert fair.saturated(600) is None
