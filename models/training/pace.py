"""How far a run is, when it ends, and when the next snapshot is due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from models.training.config import TrainingConfig
from models.training.learner import Learner

SNAPSHOTS_A_RUN: Final = 15
JUDGED_SHARE: Final = 0.1
"""Of a run's time that snapshots by the clock may take."""


@dataclass(frozen=True, slots=True)
class Pace:
    """A run's progress against its ends: steps, minutes, or both."""

    config: TrainingConfig
    learner: Learner

    def snapshot_due(self, last: float, cost: float) -> bool:
        """Whether to take one now; the last was taken at `last` and took `cost`, in seconds."""
        step, seconds = self.learner.progress
        config, steps = self.config, self.learner.steps
        if config.snapshot_steps is not None:
            return step % config.snapshot_steps == 0
        if config.snapshot_minutes is not None:
            return seconds - last >= config.snapshot_minutes * 60
        if config.minutes is None and steps is not None:
            return step % -(-steps // SNAPSHOTS_A_RUN) == 0
        assert config.minutes is not None, "something ends every run"
        pause = max(config.minutes * 60 / SNAPSHOTS_A_RUN, cost / JUDGED_SHARE)
        return seconds - last >= pause

    def plan(self) -> None:
        """Where minutes end the run, step sizes fall over as many steps as they are enough for."""
        step, seconds = self.learner.progress
        if self.config.minutes is not None and step:
            enough = int(self.config.minutes * 60 / (seconds / step))
            steps = self.learner.steps
            self.learner.plan(max(step + 1, enough if steps is None else min(steps, enough)))

    def done(self) -> float:
        """Share of the run that is over."""
        (step, seconds), steps, minutes = (
            self.learner.progress, self.learner.steps, self.config.minutes,
        )  # fmt: skip
        shares = [step / steps] if steps else []
        shares += [seconds / (minutes * 60)] if minutes else []
        return max(shares)

    def left(self) -> float | None:
        """Seconds to the end by the pace so far; None before the first step."""
        step, seconds = self.learner.progress
        if not step:
            return None
        left = []
        if self.learner.steps is not None:
            left.append((self.learner.steps - step) * seconds / step)
        if self.config.minutes is not None:
            left.append(self.config.minutes * 60 - seconds)
        return round(max(0.0, min(left)), 1)
