"""Which snapshot of a run to ship: by figures on validation images, not by the last step."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Final, NamedTuple

from models.checkpoint import load
from models.classifier import Classifier
from models.corpus.corpus import Corpus
from models.evaluation.figures import QUICK, Effort, Figures, measure
from models.files import WEIGHTS_FILE, read_spec, write_atomically

logger = logging.getLogger(__name__)

CHOICE_FILE: Final = "choice.json"


class Candidate(NamedTuple):
    """A snapshot and its figures on the validation images."""

    name: str
    figures: Figures

    @property
    def score(self) -> float:
        """Utility plus agreement: samples must teach, and be what was asked for.

        Of an unconditional model, utility alone.
        """
        return self.figures.utility + (self.figures.label_agreement or 0.0)


def choose(
    run: Path, judge: Classifier, validation: Corpus, every: int = 1, effort: Effort = QUICK
) -> list[Candidate]:
    """Measure every so many snapshots of `run`, the newest first; the list has the best first.

    Figures are kept in choice.json as they come, so that a second call measures only new ones.
    """
    known = _known(run)
    names = sorted((path.name for path in (run / "snapshots").iterdir()), reverse=True)[::every]
    for name in names:
        if name not in known:
            known[name] = _measure(run / "snapshots" / name, judge, validation, effort)
            document = {step: figures.as_json() for step, figures in sorted(known.items())}
            write_atomically(run / CHOICE_FILE, json.dumps(document, indent=2).encode())
    candidates = [Candidate(name, figures) for name, figures in known.items()]
    return sorted(candidates, key=lambda candidate: candidate.score, reverse=True)


def _known(run: Path) -> dict[str, Figures]:
    path = run / CHOICE_FILE
    document = json.loads(path.read_bytes()) if path.exists() else {}
    return {name: Figures(**fields) for name, fields in document.items()}


def _measure(folder: Path, judge: Classifier, validation: Corpus, effort: Effort) -> Figures:
    spec = read_spec(folder)
    generator = load(spec, folder / WEIGHTS_FILE)
    figures = measure(spec, generator, judge, validation, effort)
    logger.info(
        "%s agreement %s confidence %.4f utility %.4f",
        folder.name, figures.label_agreement, figures.mean_confidence, figures.utility,
    )  # fmt: skip
    return figures
