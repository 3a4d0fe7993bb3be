"""`synthloom evaluate`: what samples are worth, held against real images, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.evaluation import given, measured, options_of, real_images, written
from app.cli.failures import CommandError, ExitCode
from app.cli.terminal import plain, print_table, say, stdout
from app.errors import ValidationError
from app.quality.gate import Condition, GateOutcome, judge, read_gate
from app.quality.wording import number, points, share, span, value_of
from models.errors import ModelError
from models.evaluation.estimate import FIDELITY, Figure
from models.evaluation.lift_result import LiftResult
from models.evaluation.results import Evaluation

CLASSES_SHOWN = 20


SubjectArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL_OR_DATASET",
        help="A shipped model, a model's folder, or images: a folder, archive, npz, Parquet.",
    ),
]
AgainstOption = Annotated[
    Path,
    typer.Option("--against", metavar="REAL", help="Real images; a test split is never learnt."),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="HTML", help="Where the report goes.")
]
FiguresOption = Annotated[
    Path | None, typer.Option("--json", metavar="JSON", help="Where its figures go.")
]
PerClassOption = Annotated[
    int, typer.Option(min=20, metavar="N", help="Drawn of each class of a model.")
]
BackboneOption = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="classifier (learnt from REAL), pixels, or a torchvision network."
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="State dict of that network; nothing is downloaded."),
]
LiftOption = Annotated[
    bool, typer.Option("--lift/--no-lift", help="Whether the samples make a classifier better.")
]
MinutesOption = Annotated[
    float | None, typer.Option(min=0.1, metavar="M", help="Budget: less is learnt and compared.")
]
GateOption = Annotated[
    list[str] | None,
    typer.Option("--gate", metavar="CONDITION", help="As 'label_agreement>=0.95'; repeatable."),
]
SeedOption = Annotated[
    int, typer.Option(min=0, metavar="SEED", help="Of all that is drawn by chance.")
]
ThreadsOption = Annotated[int, typer.Option(min=1, metavar="N", help="Processor threads.")]
FolderOption = Annotated[
    Path,
    typer.Option("--folder", metavar="DIR", help="Figures, pictures, and what is finished."),
]


def evaluate(
    subject: SubjectArgument,
    against: AgainstOption,
    out: OutOption = None,
    json_out: FiguresOption = None,
    samples_per_class: PerClassOption = 1000,
    backbone: BackboneOption = "classifier",
    weights: WeightsOption = None,
    lift: LiftOption = True,
    minutes: MinutesOption = None,
    gate: GateOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 1,
    folder: FolderOption = Path("evaluation"),
) -> None:
    """Hold samples against real images: a verdict, figures with their intervals, a report.

    What is finished is kept in the folder: the same command goes on after an interruption.
    """
    conditions = _conditions(gate or [])
    try:
        subject_given = given(subject, samples_per_class, seed)
        train, test = real_images(against, subject_given)
        options = options_of(
            subject_given, against, backbone=backbone, weights=weights, lift=lift,
            minutes=minutes, seed=seed,
        )  # fmt: skip
        found = measured(subject_given, train, test, options, folder, threads)
    except ModelError as error:
        raise CommandError(str(error), ExitCode.USAGE) from error
    outcome = judge(conditions, found.figures())
    _show(found, outcome)
    for path in written(found, outcome, subject_given, folder, out, json_out):
        say(f"Written: {path}")
    if outcome is not None and not outcome.passed:
        raise CommandError(outcome.sentence, ExitCode.GATE)


def _conditions(gate: list[str]) -> tuple[Condition, ...]:
    try:
        return read_gate(gate)
    except ValidationError as error:
        raise CommandError(error.detail, ExitCode.USAGE) from error


def _show(found: Evaluation, outcome: GateOutcome | None) -> None:
    """The verdict first, then what limits it, then the figures."""
    stdout().print(plain(found.verdict), soft_wrap=True)
    for warning in found.warnings:
        stdout().print(plain(f"Note: {warning}"), soft_wrap=True)
    stdout().print()
    rows = [
        _row(name, figure, found) for name, figure in found.figures().items() if "/" not in name
    ]
    print_table(("figure", "value", "interval", "held-out real images", "of"), rows)
    _show_classes(found)
    if found.lift is not None:
        _show_lift(found.lift)
    elif found.lift_reason:
        stdout().print(plain(f"No lift: {found.lift_reason}."), soft_wrap=True)
    if outcome is not None:
        stdout().print(plain(outcome.sentence), soft_wrap=True)


def _row(name: str, figure: Figure, found: Evaluation) -> tuple[str, str, str, str, str]:
    held_out = {str(key): held for key, held in found.fidelity.held_out.items()}
    references = {
        "label_agreement": found.agreement.on_test.value,
        "copies": 0.01,
        "nearer_training": found.copies.nearer_training_expected,
        **{key: held.value for key, held in held_out.items()},
    }
    value = value_of(name, figure.value) or "not measured"
    counts = f"{figure.synthetic:,} samples, {figure.real:,} real images"
    return (
        name.replace("_", " "),
        value,
        span(figure.interval, per_cent=name not in ("kid", "fid", "density")),
        value_of(name, references.get(name)),
        counts if figure.reason is None else figure.reason,
    )


def _show_classes(found: Evaluation) -> None:
    """Precision, coverage and agreement of each class; of many classes the first."""
    rows = found.fidelity.per_class
    if len(rows) < 2:
        return
    shown = list(rows)[:CLASSES_SHOWN]
    stdout().print()
    print_table(
        ("class", *FIDELITY, "label agreement"),
        [
            (
                label,
                *(value_of(name, rows[label][name].value) or "-" for name in FIDELITY),
                value_of("label_agreement", _value(found.agreement.per_class.get(label))) or "-",
            )
            for label in shown
        ],
    )
    if len(rows) > len(shown):
        say(f"{len(rows) - len(shown)} more classes are in the report.")


def _value(figure: Figure | None) -> float | None:
    return None if figure is None else figure.value


def _show_lift(lift: LiftResult) -> None:
    """Every way to train the classifier, and what it reached on the test images."""
    stdout().print()
    arms = [*lift.arms, *filter(None, [lift.train_on_synthetic])]
    print_table(
        ("learnt from", "balanced accuracy", f"against {lift.reference}, points", "interval"),
        [
            (
                arm.name,
                share(arm.balanced_accuracy.value),
                points(arm.difference.value) if arm.difference else "",
                span(arm.difference.interval, signed=True) if arm.difference else "",
            )
            for arm in arms
        ],
    )
    seeds = number(len(lift.seeds))
    stdout().print(plain(f"{seeds} seeds. {lift.advice.sentence}"), soft_wrap=True)
