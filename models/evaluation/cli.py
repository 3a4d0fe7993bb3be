"""Commands that make and fill the zoo: `python -m models.evaluation judge|choose|publish`.

Importing this is cheap (no torch).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.evaluation.publish import Judge

Data = Annotated[Path, typer.Option(help="Folder of gzipped IDX files")]
JudgeFolder = Annotated[Path, typer.Option(help="Folder of the trained classifier")]
Validation = Annotated[int, typer.Option(help="Last training images kept out of training")]
Threads = Annotated[int, typer.Option(help="Processor threads")]


def make_app() -> typer.Typer:
    """The three commands."""
    app = typer.Typer(no_args_is_help=True, add_completion=False)
    for command in (judge, choose, publish):
        app.command()(command)
    return app


def judge(
    data: Data,
    out: Annotated[Path, typer.Option(help="Where the classifier goes")],
    name: Annotated[str, typer.Option(help="Name of the classifier")] = "fashion-classifier",
    epochs: Annotated[int, typer.Option(help="Passes over the images")] = 16,
    validation: Validation = 5000,
    threads: Threads = 1,
) -> None:
    """Train the judge on real images and measure it on the test images."""
    from models.corpus.read import read
    from models.evaluation.judge import make_judge
    from models.training.classify import Budget

    _prepare(threads)
    train, _ = read(data).split(validation)
    budget = Budget(epochs=epochs, shift=2, bfloat16=True)
    make_judge(name, train, read(data, split="test"), budget, out)


def choose(
    run: Annotated[Path, typer.Argument(help="Folder of a training run")],
    data: Data,
    judge: JudgeFolder,
    every: Annotated[int, typer.Option(help="Measure every so many snapshots")] = 1,
    validation: Validation = 5000,
    threads: Threads = 1,
) -> None:
    """Measure a run's snapshots on validation images and name the best."""
    from models.corpus.read import read
    from models.evaluation.choose import choose as rank

    _prepare(threads)
    _, kept = read(data).split(validation)
    for candidate in rank(run, _load(judge).classifier, kept, every):
        figures = candidate.figures
        typer.echo(
            f"{candidate.name} agreement {figures.label_agreement} "
            f"confidence {figures.mean_confidence} utility {figures.utility}"
        )


def publish(
    snapshot: Annotated[Path, typer.Argument(help="Folder of a snapshot")],
    data: Data,
    judge: JudgeFolder,
    out: Annotated[Path, typer.Option(help="Folder of the zoo")],
    description: Annotated[str, typer.Option(help="One paragraph for the spec")],
    notes: Annotated[Path, typer.Option(help="Markdown that ends the card")],
    threads: Threads = 1,
) -> None:
    """Measure a snapshot on the test images and put it into the zoo with its card."""
    from models.corpus.read import read
    from models.evaluation.publish import Words
    from models.evaluation.publish import publish as put

    _prepare(threads)
    words = Words(description, notes.read_text())
    put(snapshot, out, _load(judge), read(data, split="test"), words)


def _load(folder: Path) -> Judge:
    from models.checkpoint import load_classifier
    from models.evaluation.publish import Judge
    from models.files import WEIGHTS_FILE, read_classifier_spec

    spec = read_classifier_spec(folder)
    return Judge(spec, load_classifier(spec, folder / WEIGHTS_FILE))


def _prepare(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
