"""The loop of a run: steps, checkpoints, judged snapshots, and when it ends.

A snapshot is kept in this order: checkpoint, ledger, state. A kill in between leaves the state
behind the ledger, and the next start takes the ledger back to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import torch

from models import checkpoint
from models.errors import CheckpointError, TrainingError
from models.files import write_atomically
from models.spec import ModelSpec
from models.training.callbacks import Callback, Snapshot
from models.training.folder import GOOD_FILE, STATE_FILE
from models.training.health import DivergenceError, Finding, collapse
from models.training.learner import Learner
from models.training.pace import Pace
from models.training.progress import Ending, State, TrainingProgress
from models.training.selection import Judge
from models.training.snapshots import Row, Snapshots

SLOWER: Final = 0.5
"""Step sizes after a divergence, times those before."""
EARLY: Final = 1 / 3
"""So much of a run may have few samples: not much was learnt yet."""
REPORT_SECONDS: Final = 2.0
LASTING: Final = ("steps", "minutes", "patience")
"""Ends at which the newest weights are judged too."""


class Loop:
    """Trains `learner` in `directory` until something ends it.

    describe: the spec of a checkpoint that is saved now.
    doubts: what was found out about the judge.
    stop: asked between steps; true leaves the run where it is, to be gone on with.
    """

    def __init__(
        self, learner: Learner, judge: Judge | None, directory: Path,
        describe: Callable[[], ModelSpec], doubts: Sequence[Finding],
        callbacks: Sequence[Callback], stop: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.learner = learner
        self.judge = judge
        self.directory = directory
        self.describe = describe
        self.doubts = doubts
        self.callbacks = callbacks
        self.stop = stop
        self.config = learner.config
        self.pace = Pace(learner.config, learner)
        self.snapshots = Snapshots(directory, self.config.keep)
        self.diverged = False
        self.cost = 0.0  # seconds of the last snapshot
        self.snapshot_at = self.checkpoint_at = self.reported_at = 0.0

    def run(self) -> Ending:
        """Go on where the folder's state is, to an end. Raises TrainingError without any."""
        state = self.directory / STATE_FILE
        if state.exists():
            self.learner.restore(state)
        self._begin()
        while True:
            ending = self._ending()
            if ending is None:
                self._guarded(self._step)
            elif ending in LASTING and self.snapshots.last_step != self.learner.progress.step:
                self._guarded(self._snapshot)  # which may go back, and then the run goes on
            else:
                break
        if ending == "interrupted":
            self._save_state()
        return ending

    def _begin(self) -> None:
        for doubt in self.doubts:
            self.find(doubt)
        step, seconds = self.learner.progress
        self.snapshots.rewind(step)
        self.snapshot_at = self.checkpoint_at = seconds
        for callback in self.callbacks:
            callback.begin(step, self.learner.steps)
        self.report("training")

    def _ending(self) -> Ending | None:
        step, seconds = self.learner.progress
        config, steps = self.config, self.learner.steps
        if self.diverged:
            return "diverged"
        if steps is not None and step >= steps:
            return "steps"
        if config.minutes is not None and step and seconds >= config.minutes * 60:
            return "minutes"
        if self.judge and config.patience and self.snapshots.since_best >= config.patience:
            return "patience"
        return "interrupted" if self.stop() else None

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except DivergenceError as error:
            self._go_back(error)

    def _step(self) -> None:
        losses = self.learner.step()
        for callback in self.callbacks:
            callback.step(self.learner.progress, losses)
        seconds = self.learner.progress.seconds
        if self.pace.snapshot_due(self.snapshot_at, self.cost):
            self._snapshot()
        elif seconds - self.checkpoint_at >= self.config.checkpoint_minutes * 60:
            self._save_state()
        if time.monotonic() - self.reported_at >= REPORT_SECONDS:
            self.report("training")

    def _snapshot(self) -> None:
        started = time.perf_counter()
        learner = self.learner
        judged = self.judge.judge(learner.average) if self.judge else None
        row = Row(step=learner.progress.step, seconds=learner.progress.seconds, judged=judged)
        folder = self.snapshots.folder(row)
        saved = self._save_checkpoint(folder)
        self.snapshots.add(row)
        for callback in self.callbacks:
            callback.snapshot(Snapshot(folder, saved, learner.average, row))
        self._examine(row)
        self.cost = time.perf_counter() - started
        learner.spend(self.cost)
        self.snapshot_at = learner.progress.seconds
        self._save_state(GOOD_FILE)
        self.snapshots.prune()
        self.report("training")

    def _save_checkpoint(self, folder: Path) -> ModelSpec:
        try:
            return checkpoint.save(folder, self.describe(), self.learner.average, torch.float16)
        except CheckpointError as error:
            raise DivergenceError(str(error)) from error

    def _examine(self, row: Row) -> None:
        """Say what is wrong by now; a collapse is taken back when it is over."""
        watch = self.learner.watch
        found = [watch.saturated(row.step)]
        early = self.pace.done() < EARLY
        fallen = None if early or row.judged is None else collapse(row.judged, row.step)
        if fallen is None:
            watch.forget("collapsed")
        for finding in (*found, fallen):
            if finding is not None:
                self.find(finding)

    def find(self, finding: Finding) -> None:
        """Keep a finding, and say it if it is new."""
        if self.learner.watch.keep(finding):
            for callback in self.callbacks:
                callback.found(finding)

    def _save_state(self, *others: str) -> None:
        started = time.perf_counter()
        self.pace.plan()
        content = self.learner.dump()
        for name in (*others, STATE_FILE):
            write_atomically(self.directory / name, content)
        self.learner.spend(time.perf_counter() - started)
        self.checkpoint_at = self.learner.progress.seconds

    def _go_back(self, error: DivergenceError) -> None:
        """To the last snapshot, with half the step sizes; the second time, the run ends."""
        learner = self.learner
        seconds, step = learner.progress.seconds, learner.progress.step
        if learner.rate_factor < 1:
            self._give_up(error)
            return
        good = self.directory / GOOD_FILE
        if good.exists():
            learner.restore(good, SLOWER)
        else:
            learner.restart(SLOWER)
        learner.spend(seconds - learner.progress.seconds)
        back = learner.progress.step
        self.find(_diverged(error, step, f"went back to step {back} with half the step sizes"))
        self._begin()
        self._save_state()

    def _give_up(self, error: DivergenceError) -> None:
        best = self.snapshots.best
        if best is None:
            raise TrainingError(
                f"the run diverged: {error}, also with half the step sizes; lower generator_rate "
                "and partner_rate, and start in another folder"
            ) from error
        self.diverged = True
        step = self.learner.progress.step
        self.find(_diverged(error, step, f"again; the snapshot of step {best.step} was taken"))

    def report(self, state: State, ending: Ending | None = None, error: str | None = None) -> None:
        """Tell the callbacks how the run stands."""
        self.reported_at = time.monotonic()
        learner, best, rows = self.learner, self.snapshots.best, self.snapshots.rows
        step, seconds = learner.progress
        progress = TrainingProgress(
            state=state,
            name=self.config.name,
            architecture=self.config.architecture,
            step=step,
            steps=learner.steps,
            epochs=round(step / learner.batches.per_epoch, 3),
            seconds=round(seconds, 2),
            eta_seconds=self.pace.left() if state == "training" else None,
            losses=dict(learner.watch.recent),
            snapshots=len(rows),
            figures=rows[-1].judged if rows else None,
            best=best.judged if best else None,
            best_step=best.step if best else None,
            warnings=tuple(learner.watch.findings),
            ended=ending,
            error=error,
        )
        for callback in self.callbacks:
            callback.reported(progress)


def _diverged(error: DivergenceError, step: int, done: str) -> Finding:
    return Finding(code="diverged", step=step, detail=f"The run diverged ({error}): {done}.")
