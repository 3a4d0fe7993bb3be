"""From a chosen snapshot to a folder of the zoo: final figures, card, contact sheet, curve."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from models.checkpoint import load
from models.classifier import Classifier
from models.classifier_spec import ClassifierSpec
from models.corpus.corpus import Corpus
from models.evaluation.card import write_card
from models.evaluation.curve import draw_curve
from models.evaluation.figures import FULL, Effort, measure
from models.files import SPEC_FILE, WEIGHTS_FILE, read_spec, write_atomically
from models.spec import ModelSpec
from models.training.callbacks import write_contact_sheet


class Judge(NamedTuple):
    """A classifier and what it says of itself."""

    spec: ClassifierSpec
    classifier: Classifier


class Words(NamedTuple):
    """What the maker says of a model: one paragraph for the spec, notes for the card."""

    description: str
    notes: str


def publish(
    snapshot: Path, target: Path, judge: Judge, test: Corpus, words: Words, effort: Effort = FULL
) -> ModelSpec:
    """Copy `snapshot` to `target` with its figures on the `test` images, card and pictures."""
    spec = read_spec(snapshot).model_copy(update={"description": words.description})
    generator = load(spec, snapshot / WEIGHTS_FILE)
    figures = measure(spec, generator, judge.classifier, test, effort).as_json()
    figures["judge"] = judge.spec.ref
    figures["utility_of_real"] = judge.spec.figures["utility_of_real"]
    spec = spec.model_copy(update={"figures": figures})
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(snapshot / WEIGHTS_FILE, target / WEIGHTS_FILE)
    write_atomically(target / SPEC_FILE, spec.to_json().encode())
    write_contact_sheet(target / "preview.png", generator, columns=10)
    draw_curve(snapshot.parents[1] / "losses.csv", _step(snapshot), target / "curve.png")
    parameters = sum(parameter.numel() for parameter in generator.parameters())
    write_card(target / "card.md", spec, parameters, words.notes)
    return spec


def _step(snapshot: Path) -> int:
    return int(snapshot.name.removeprefix("step-"))
