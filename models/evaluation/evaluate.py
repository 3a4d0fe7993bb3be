"""One evaluation, from images to a verdict: what was measured is kept, and not measured again."""

from __future__ import annotations

from pathlib import Path

from models.corpus.corpus import Corpus
from models.evaluation.agreement import counted
from models.evaluation.balance import balance
from models.evaluation.budget import within
from models.evaluation.caveats import caveats
from models.evaluation.environment import environment
from models.evaluation.findings import Real
from models.evaluation.measuring import Measuring, material
from models.evaluation.options import EvaluationOptions, Progress
from models.evaluation.pictures import draw
from models.evaluation.results import EVALUATION_FILE, Evaluation
from models.evaluation.sides import take_sides
from models.evaluation.verdict import Findings, verdict
from models.files import write_atomically


def evaluate(
    subject: Corpus,
    train: Corpus,
    test: Corpus | None,
    options: EvaluationOptions,
    folder: Path,
    progress: Progress = lambda _, __: None,
) -> Evaluation:
    """Judge the samples `subject`; evaluation.json and its pictures are written into `folder`.

    train: the real images that the generator may have learnt from. test: real images that it has
    not seen; nothing learns from them here either. Both have the subject's size and class names;
    a subject of the one class "unlabelled" is judged without labels.

    What is finished is kept in `folder`: the same call after an interruption goes on from there.
    Raises DatasetError when the images do not fit together, and what `progress` raises.
    """
    options = within(options)
    sides = take_sides(subject, train, test, options.seed)
    run = Measuring(sides, options, folder, progress)
    run.classifier()
    found = Findings(run.fidelity(), run.copies(), run.labels(), run.looks())
    lift, lift_reason = run.lift()
    shares = balance(sides.train, sides.subject.corpus, counted(sides.subject, found.agreement))
    run.announce("pictures")
    pictures = draw(folder, sides, found, shares)
    said = verdict(found, lift.advice.sentence if lift else None)
    evaluation = Evaluation(
        verdict=said.sentence,
        kind=said.kind,
        warnings=tuple(caveats(sides, found, options)),
        subject=material(
            subject, options.subject_name, options.subject_kind, options.subject_facts
        ),
        real=Real(
            train=material(sides.train, options.real_name),
            test=material(sides.reference, f"{options.real_name}, test") if sides.unseen else None,
        ),
        fidelity=found.fidelity,
        copies=found.copies.model_copy(update={"worst_picture": "copies"}),
        balance=shares,
        agreement=found.agreement,
        appearance=found.appearance,
        lift=lift,
        lift_reason=lift_reason,
        cost=run.cost(),
        environment=environment(),
        pictures=pictures,
        options=options.model_dump(mode="json", exclude={"weights"}),
    )
    write_atomically(folder / EVALUATION_FILE, evaluation.to_json().encode())
    progress("done", 1.0)
    return evaluation
