"""An evaluation, in the child process of an attempt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.quality.gate import judge, read_gate
from app.runs.attempt import Stop, Teller
from app.runs.messages import EVALUATION_FOLDER
from app.runs.report import write_report
from app.runs.subject import subject_of
from models.corpus.corpus import Corpus
from models.corpus.preprocessing import Preprocessing
from models.corpus.read import read_splits
from models.evaluation.evaluate import evaluate as measure
from models.evaluation.options import EvaluationOptions
from models.evaluation.results import Evaluation

MEASURING_FOLDER = "measuring"
"""Where parts that are measured wait to be gone on with; of it the report's files are kept."""


def evaluate(work: dict[str, Any], folder: Path, stop: Stop, tell: Teller) -> dict[str, Any]:
    """Measure, or go on where the folder is, and leave evaluation and pictures in it.

    Raises StopAskedError, and what the evaluation raises.
    """
    tell("reading")
    subject = subject_of(work["subject"])
    options = EvaluationOptions.model_validate(work["options"])
    train, test = _real(Path(work["against"]["path"]), _size(work["subject"], subject))

    def progress(doing: str, done: float) -> None:
        stop.check()
        tell(doing, done=done)

    directory = folder / MEASURING_FOLDER
    found = measure(subject, train, test, options, directory, progress)
    _keep(found, directory, folder / EVALUATION_FOLDER)
    gate = judge(read_gate(work["gate"]), found.figures())
    write_report(folder / EVALUATION_FOLDER, found, gate, work["subject"])
    return {
        "evaluation": found.model_dump(mode="json"),
        "gate": None if gate is None else gate.model_dump(mode="json"),
    }


def _real(path: Path, size: Preprocessing) -> tuple[Corpus, Corpus | None]:
    """Training and test images; of a dataset with one split, that one and none."""
    splits = read_splits(path, preprocessing=size)
    if "train" not in splits:
        [train] = list(splits.values())[:1]
        return train, None
    return splits["train"], splits.get("test", splits.get("validation"))


def _size(place: dict[str, Any], subject: Corpus) -> Preprocessing:
    """How real images become like the samples: as those did that the model has learnt from."""
    known = (place.get("spec") or {}).get("training", {}).get("preprocessing") or {}
    shape = subject.image.model_dump()
    kept = {name: known[name] for name in ("fit", "resample") if name in known}
    return Preprocessing.model_validate(shape | kept)


def _keep(found: Evaluation, directory: Path, kept: Path) -> None:
    """The evaluation and its pictures, without what was only needed to measure it."""
    kept.mkdir(exist_ok=True)
    for name in ("evaluation.json", *found.pictures.values()):
        target = kept / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((directory / name).read_bytes())
