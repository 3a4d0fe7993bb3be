"""A training on this machine, as a person starts it: images from a path, a folder, Ctrl-C."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer

from models.corpus.read import read
from models.errors import ModelError
from models.training.callbacks import Callback, ProgressBar
from models.training.config import TrainingConfig
from models.training.session import Outcome, TrainingInterruptedError, start
from models.training.tensorboard import TensorBoard

INTERRUPTED = 130


def run(config: TrainingConfig, data: Path, out: Path, tensorboard: Path | None) -> None:
    """Train, and say what came of it. Exits 1 with a sentence, or 130 when interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    callbacks: list[Callback] = []
    if tensorboard is not None:
        callbacks.append(TensorBoard(tensorboard))
    if sys.stderr.isatty():
        callbacks.append(ProgressBar(config.minutes))
    try:
        corpus = read(data, split=config.split, preprocessing=config.preprocessing)
        with interruptible() as stop:
            outcome = start(config, corpus, out, callbacks, stop)
    except TrainingInterruptedError as error:
        typer.echo(f"{error}.", err=True)
        raise typer.Exit(INTERRUPTED) from error
    except ModelError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(summary(outcome, out))


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C or SIGTERM asks the run to save and stop; the second one kills it."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def summary(outcome: Outcome, out: Path) -> str:
    """What a person wants to know at the end, and what to do next."""
    spec, judged = outcome.spec, outcome.chosen.judged
    minutes = outcome.progress.seconds / 60
    lines = [f"{spec.name}: {outcome.epochs:.1f} epochs in {minutes:.1f} minutes."]
    if judged is None:
        lines.append(
            f"The last snapshot, step {outcome.chosen.step}, was taken: nothing judged it."
        )
    else:
        agreement = judged.label_agreement
        labels = "" if agreement is None else f", label agreement {agreement:.3f}"
        lines.append(
            f"The best is that of step {outcome.chosen.step}: KID {judged.kid:.4f}{labels} "
            f"on {judged.real_images} validation images."
        )
    lines += [f"Warning: {finding.detail}" for finding in outcome.warnings]
    lines.append(f"The model is in {out}; look at {out / 'preview.png'} and {out / 'curve.png'}.")
    lines.append(f"To serve it: synthloom models import {shlex.quote(str(out))}")
    return "\n".join(lines)
