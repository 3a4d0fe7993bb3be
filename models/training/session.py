"""From a configuration and a corpus to a trained checkpoint in a folder."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import torch
from pydantic import JsonValue

from models.corpus.corpus import Corpus
from models.errors import ModelError, TrainingError
from models.files import SPEC_FILE, WEIGHTS_FILE, read_spec, write_atomically
from models.spec import ModelSpec
from models.training.callbacks import (
    LOSS_FILE,
    SHEET_FILE,
    Callback,
    Log,
    LossTable,
    Reporter,
    SampleGrid,
)
from models.training.config import TrainingConfig
from models.training.device import resolve
from models.training.draft import draft_spec
from models.training.folder import claim
from models.training.health import Finding
from models.training.holdout import Parts, hold_out
from models.training.judging import judge_of, weakness
from models.training.learner import Learner
from models.training.loop import Loop
from models.training.plot import draw_curves
from models.training.progress import Ending, State, TrainingProgress
from models.training.recipe import Recipe
from models.training.record import Material, curves, figures_of, training_record
from models.training.snapshots import Row
from models.training.state import Progress

logger = logging.getLogger(__name__)

PREVIEW_FILE: Final = "preview.png"
CURVE_FILE: Final = "curve.png"


class Outcome(NamedTuple):
    """The model as saved, and how much learning made it.

    chosen: the snapshot that it is. ended: what ended the run.
    """

    spec: ModelSpec
    progress: Progress
    epochs: float
    chosen: Row
    ended: Ending
    warnings: tuple[Finding, ...]


class TrainingInterruptedError(TrainingError):
    """The run was told to stop; its state is saved, and it can be gone on with."""


def never() -> bool:
    """Nobody asks the run to stop."""
    return False


def start(
    config: TrainingConfig,
    corpus: Corpus,
    directory: Path,
    callbacks: Sequence[Callback] = (),
    stop: Callable[[], bool] = never,
) -> Outcome:
    """Train in `directory`, or go on there, and save the best snapshot as its checkpoint.

    corpus: images of the config's split, already of the size they are to be learnt at.
    stop: asked between steps; once it is true, the state is saved and TrainingInterruptedError
        raised. Raises TrainingError for what cannot be trained, before anything is written.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    parts = hold_out(corpus, config.validation, config.seed)
    recipe = _filled(config.recipe, len(parts.train))
    spec = draft_spec(config, recipe, corpus)
    learner = Learner(config, recipe, spec, parts.train, resolve(config.device))
    claim(directory, config, corpus.sha256)
    told = _told(directory, callbacks)
    session = _Session(config, learner, parts, corpus.sha256, directory, told)
    try:
        return session.run(stop)
    except (ModelError, OSError) as error:
        session.failed(error)
        raise
    finally:
        for callback in told:
            callback.end()


def _told(directory: Path, callbacks: Sequence[Callback]) -> list[Callback]:
    """Everything that hears of the run; the loss table is the caller's, if there is one."""
    table = [c for c in callbacks if isinstance(c, LossTable)] or [LossTable(directory / LOSS_FILE)]
    others = [callback for callback in callbacks if not isinstance(callback, LossTable)]
    return [*table, SampleGrid(directory), Log(), *others, Reporter(directory)]


def _filled(recipe: Recipe, images: int) -> Recipe:
    """The recipe with batches that so many images fill."""
    if images >= recipe.batch_size:
        return recipe
    fitting = images // 4 * 4
    if not fitting:
        raise TrainingError(f"{images} images are too few to learn from; bring at least 4")
    logger.info("batches of %d: there are %d images", fitting, images)
    return recipe.with_overrides({"batch_size": fitting})


class _Session:
    """One run: its judge, its loop, and what is left in the folder."""

    def __init__(
        self, config: TrainingConfig, learner: Learner, parts: Parts, data_sha256: str,
        directory: Path, callbacks: Sequence[Callback],
    ) -> None:  # fmt: skip
        self.config = config
        self.learner = learner
        self.parts = parts
        self.data_sha256 = data_sha256
        self.directory = directory
        self.callbacks = callbacks
        self.loop: Loop | None = None

    def run(self, stop: Callable[[], bool]) -> Outcome:
        loop = self._loop(stop)
        ending = loop.run()
        if ending == "interrupted":
            loop.report("interrupted")
            step = self.learner.progress.step
            raise TrainingInterruptedError(
                f"stopped at step {step}; the same command goes on from there"
            )
        outcome = self._finish(loop, ending)
        loop.report("finished", ending)
        return outcome

    def failed(self, error: Exception) -> None:
        """Say in progress.json why there is no result, if there is room to say it."""
        if isinstance(error, TrainingInterruptedError):
            return
        with suppress(OSError):
            if self.loop is None:
                self._tell("failed", str(error))
            else:
                self.loop.report("failed", error=str(error))

    def _loop(self, stop: Callable[[], bool]) -> Loop:
        self._tell("preparing")
        started = time.perf_counter()
        train, validation = self.parts
        judge = judge_of(self.directory, self.config, train, validation) if validation else None
        self.material = Material(
            self.data_sha256,
            len(train),
            len(validation) if validation else 0,
            judge.accuracy if judge else None,
        )
        self.loop = Loop(
            self.learner, judge, self.directory, self._described,
            weakness(judge, validation), self.callbacks, stop,
        )  # fmt: skip
        self.learner.spend(time.perf_counter() - started)
        return self.loop

    def _tell(self, state: State, error: str | None = None) -> None:
        """How the run stands before there is a loop."""
        progress = TrainingProgress(
            state=state, name=self.config.name, architecture=self.config.architecture,
            steps=self.learner.steps, error=error,
        )  # fmt: skip
        for callback in self.callbacks:
            callback.reported(progress)

    def _described(self) -> ModelSpec:
        record = training_record(self.config, self.learner, self.material)
        return self.learner.spec.model_copy(update={"training": record})

    def _finish(self, loop: Loop, ending: Ending) -> Outcome:
        """Put the best snapshot into the folder itself, with the record of the whole run."""
        best = loop.snapshots.best
        assert best is not None, "a run that ends has a snapshot"
        source = loop.snapshots.folder(best)
        spec = self._complete(read_spec(source), loop, best, ending)
        (self.directory / SPEC_FILE).unlink(missing_ok=True)  # of a shorter run: other weights
        write_atomically(self.directory / WEIGHTS_FILE, (source / WEIGHTS_FILE).read_bytes())
        write_atomically(self.directory / SPEC_FILE, spec.to_json().encode())
        shutil.copyfile(source / SHEET_FILE, self.directory / PREVIEW_FILE)
        draw_curves(spec.training, best.step, self.directory / CURVE_FILE)
        epochs = self.learner.progress.step / self.learner.batches.per_epoch
        warnings = tuple(self.learner.watch.findings)
        return Outcome(spec, self.learner.progress, epochs, best, ending, warnings)

    def _complete(self, spec: ModelSpec, loop: Loop, best: Row, ending: Ending) -> ModelSpec:
        record = training_record(self.config, self.learner, self.material)
        rows = loop.snapshots.rows
        findings: list[JsonValue] = [
            finding.model_dump(mode="json") for finding in self.learner.watch.findings
        ]
        record |= {
            "chosen_step": best.step,
            "snapshots": len(rows),
            "ended": ending,
            "judge_accuracy": self.material.accuracy,
            "warnings": findings,
            "curves": curves(self.directory / LOSS_FILE, rows),
        }
        identity = {
            name: getattr(self.config, name)
            for name in ("name", "version", "licence", "description")
        }
        changes = {**identity, "training": record, "figures": figures_of(best)}
        return spec.model_copy(update=changes)
