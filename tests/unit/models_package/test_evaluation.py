"""Figures are what they say: agreement with a judge, and what samples teach."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from torch import Tensor

from models.checkpoint import load_classifier, save_classifier
from models.classifier_spec import ClassifierSpec
from models.evaluation.choose import choose
from models.evaluation.curve import draw_curve
from models.evaluation.draw import draw_labelled
from models.evaluation.figures import Effort, measure
from models.evaluation.judge import make_judge
from models.evaluation.publish import Judge, Words, publish
from models.files import WEIGHTS_FILE, read_classifier_spec, read_spec
from models.generator import Generator
from models.spec import ImageShape, Weights
from models.training.callbacks import LossTable
from models.training.classify import Budget, fit
from models.training.session import start
from tests.trainings import small

SMALL = Effort(agreement_samples=200, utility_samples=3000, epochs=4)


class Copier(Generator):
    """Gives real images of the label it is asked for: the best generator there can be."""

    family = "gan"
    value_range = (0.0, 1.0)

    def __init__(self, corpus, class_count: int = 10, lie: int = 0) -> None:
        super().__init__(ImageShape(height=8, width=8, channels=1), 4, class_count)
        self.anchor = torch.nn.Linear(1, 1)
        self.images = torch.from_numpy(corpus.images).permute(0, 3, 1, 2) / 255
        self.of = [np.flatnonzero(corpus.labels == label) for label in range(10)]
        self.lie = lie

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        asked = [0] * len(z) if labels is None else labels.tolist()
        places = (z[:, 0].abs() * 1e4).long().tolist()
        chosen = [
            self.of[(label + self.lie) % 10][place % len(self.of[0])]
            for label, place in zip(asked, places, strict=True)
        ]
        return self.images[torch.tensor(chosen)]


@pytest.fixture(scope="module")
def taught(digits):
    """Judge, its training images, and images it has not seen."""
    train, kept = digits.split(500)
    return fit(train, Budget(epochs=6, batch_size=32)), train, kept


@pytest.fixture(scope="module")
def spec(make_spec, digits):
    return make_spec("cgan", (8, 8, 1), 10, latent_size=4).model_copy(
        update={"classes": digits.classes}
    )


def test_a_perfect_generator_gets_perfect_figures(spec, taught):
    judge, train, kept = taught
    figures = measure(spec, Copier(train), judge, kept, SMALL)
    assert figures.label_agreement > 0.97
    assert figures.utility > 0.8
    assert min(figures.class_agreement.values()) > 0.8
    assert (figures.agreement_samples, figures.utility_samples) == (200, 3000)
    assert figures.real_images == 500
    assert json.loads(json.dumps(figures.as_json()))["real_images"] == 500


def test_wrong_labels_show_in_both_figures(spec, taught):
    judge, train, kept = taught
    figures = measure(spec, Copier(train, lie=1), judge, kept, SMALL)
    assert figures.label_agreement < 0.05
    assert figures.utility < 0.1


def test_an_unconditional_model_has_shares_instead(spec, taught):
    judge, train, kept = taught
    free = spec.model_copy(update={"conditioning": "none", "classes": ()})
    figures = measure(free, Copier(train, class_count=0), judge, kept, SMALL)
    assert figures.label_agreement is None
    assert figures.class_agreement["0"] > 0.95
    assert sum(figures.class_agreement.values()) == pytest.approx(1)
    assert figures.utility < 0.3  # it drew noughts only, and noughts are all it can teach


def test_samples_are_drawn_class_by_class_in_turn(spec, taught):
    _, train, _ = taught
    drawn = draw_labelled(spec, Copier(train), per_class=30, seed=1)
    assert np.bincount(drawn.labels).tolist() == [30] * 10
    assert drawn.labels[:12].tolist() == [*range(10), 0, 1]
    again = draw_labelled(spec, Copier(train), per_class=20, seed=1)
    assert (again.images == drawn.images[:200]).all()


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    """A finished little training with two snapshots."""
    folder = tmp_path_factory.mktemp("run")
    table = [LossTable(folder / "losses.csv", every=5)]
    for epochs in (1, 8):
        start(small("cvae", epochs=epochs, snapshot_steps=1000), digits, folder, table)
    return folder


def test_the_better_snapshot_is_chosen_and_remembered(run, taught, tmp_path):
    judge, _, kept = taught
    folder = shutil.copytree(run, tmp_path / "run")
    ranked = choose(folder, judge, kept, effort=SMALL)
    assert [candidate.name for candidate in ranked] == ["step-0000112", "step-0000014"]
    assert ranked[0].score > ranked[1].score
    shutil.rmtree(folder / "snapshots" / "step-0000014")
    again = choose(folder, judge, kept, effort=SMALL)
    assert [candidate.name for candidate in again] == ["step-0000112", "step-0000014"]


def test_publishing_writes_figures_card_and_pictures(run, digits, taught, tmp_path):
    _, train, kept = taught
    make_judge("digits-judge", train, kept, Budget(epochs=3), tmp_path / "judge")
    judge_spec = read_classifier_spec(tmp_path / "judge")
    judge = load_classifier(judge_spec, tmp_path / "judge" / WEIGHTS_FILE)
    assert judge_spec.figures["test_accuracy"] > 0.6
    words = Words("Digits, for a test.", "## What was tried\n\nNothing else.")
    snapshot = run / "snapshots" / "step-0000112"
    target = tmp_path / "zoo" / "digits"
    written = publish(snapshot, target, Judge(judge_spec, judge), kept, words, SMALL)
    assert read_spec(target) == written
    assert written.weights == read_spec(snapshot).weights
    assert written.figures["judge"] == "digits-judge@1.0.0"
    card = (target / "card.md").read_text()
    assert f"{written.figures['utility']:.4f}" in card
    assert "Nothing else." in card
    assert {path.name for path in target.iterdir()} == {
        "spec.json", "weights.safetensors", "card.md", "preview.png", "curve.png",
    }  # fmt: skip


def test_a_curve_is_drawn(run, tmp_path):
    draw_curve(run / "losses.csv", 112, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_saved_classifier_is_loaded_to_the_rounding(taught, digits, tmp_path):
    judge, _, _ = taught
    spec = ClassifierSpec(
        name="judge", version="1.0.0", image=digits.image, classes=digits.classes,
        licence="Apache-2.0", weights=Weights(sha256="0" * 64, bytes=1),
    )  # fmt: skip
    written = save_classifier(tmp_path, spec, judge, torch.float16)
    assert read_classifier_spec(tmp_path) == written
    loaded = load_classifier(written, tmp_path / WEIGHTS_FILE)
    images = torch.rand(5, 1, 8, 8)
    torch.testing.assert_close(loaded(images), judge(images), rtol=0, atol=0.05)
