"""The training loop: batches, steps, the moving average, snapshots, and resuming.

Everything random in a step comes from a stream seeded by (seed, step), and the batch of a step is
a function of both too. So the state of a run is its tensors and the number of steps done.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from models import checkpoint
from models.corpus.corpus import Corpus
from models.errors import TrainingError
from models.generator import Generator, from_pixels
from models.registry import build
from models.spec import ModelSpec
from models.training.batches import Batches
from models.training.callbacks import Callback
from models.training.config import TrainingConfig
from models.training.record import training_record
from models.training.state import Progress, load_state, save_state
from models.training.steps import Pair, pair_up

STATE_FILE: Final = "state.safetensors"


class Outcome(NamedTuple):
    """The averaged generator at the end, as saved, and how much learning made it."""

    spec: ModelSpec
    progress: Progress
    epochs: float


class Run:
    """One training run in its folder; `train` starts it or goes on where it stopped."""

    def __init__(
        self, config: TrainingConfig, spec: ModelSpec, corpus: Corpus, directory: Path
    ) -> None:
        self.config = config
        self.spec = spec
        self.directory = directory
        self.batches = Batches(corpus, config.recipe.batch_size, config.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            generator = build(spec)
            self.pair: Pair = pair_up(spec, generator, config.recipe, config.bfloat16)
        self.average: Generator = deepcopy(generator).eval().requires_grad_(False)
        self.progress = Progress(0, 0.0)
        self.last_save = 0.0

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.batches.per_epoch * (self.config.epochs or self.config.recipe.epochs)

    def train(self, callbacks: Sequence[Callback] = ()) -> Outcome:
        """Learn until the epochs or the minutes are over, then save."""
        state_path = self.directory / STATE_FILE
        if state_path.exists():
            self.progress = load_state(state_path, self.config.seed, self.pair, self.average)
            self.last_save = self.progress.seconds
        for callback in callbacks:
            callback.begin(self.progress.step, self.steps)
        while self.progress.step < self.steps and not self._out_of_time():
            losses = self._step()
            for callback in callbacks:
                callback.step(self.progress, losses)
            if self.progress.seconds - self.last_save >= self.config.snapshot_minutes * 60:
                self._snapshot(callbacks)
        saved = self._snapshot(callbacks)
        for callback in callbacks:
            callback.end()
        return Outcome(saved, self.progress, self.progress.step / self.batches.per_epoch)

    def _out_of_time(self) -> bool:
        minutes = self.config.minutes
        return minutes is not None and self.progress.seconds >= minutes * 60

    def _step(self) -> dict[str, float]:
        started = time.perf_counter()
        step = self.progress.step
        images, labels = self._batch(step)
        with torch.random.fork_rng(devices=[]):  # the caller's stream is left alone
            torch.manual_seed((self.config.seed << 32) + step)
            losses = self.pair.update(images, labels)
        if not all(abs(loss) < float("inf") for loss in losses.values()):
            raise TrainingError(f"a loss is no longer finite at step {step}: {losses}")
        update_average(self.average, self.pair.generator, self._decay(step))
        self.progress = Progress(step + 1, self.progress.seconds + time.perf_counter() - started)
        return losses

    def _batch(self, step: int) -> tuple[Tensor, Tensor | None]:
        pixels, labels = self.batches.at(step)
        images = from_pixels(pixels, self.pair.generator.value_range)
        images = images.contiguous(memory_format=torch.channels_last)
        return images, torch.from_numpy(labels) if self.spec.conditional else None

    def _decay(self, step: int) -> float:
        """Short memory at first: the weights of the start should not linger in the average."""
        return min(self.config.recipe.average_decay, (1 + step) / (10 + step))

    def _snapshot(self, callbacks: Sequence[Callback]) -> ModelSpec:
        record = training_record(
            self.config, len(self.batches.corpus), self.batches.per_epoch, self.progress
        )
        spec = self.spec.model_copy(update={"training": record})
        folder = self.directory / "snapshots" / f"step-{self.progress.step:07d}"
        saved = checkpoint.save(folder, spec, self.average, torch.float16)
        state_path = self.directory / STATE_FILE
        save_state(state_path, self.config.seed, self.pair, self.average, self.progress)
        self.last_save = self.progress.seconds
        for callback in callbacks:
            callback.snapshot(folder, saved, self.average)
        return saved


@torch.no_grad()
def update_average(average: nn.Module, current: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * current, weights and running statistics alike."""
    kept, fresh = average.state_dict(), current.state_dict()
    floats = [name for name, tensor in kept.items() if tensor.is_floating_point()]
    torch._foreach_lerp_([kept[n] for n in floats], [fresh[n] for n in floats], 1 - decay)
    for name in kept.keys() - set(floats):
        kept[name].copy_(fresh[name])
