"""The networks of a run, their moving average, and one step of learning after the other.

Everything random in a step comes from a stream seeded by (seed, step), and the batch of a step is
a function of both too. So the state of a run is its tensors and the number of steps done.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from models.corpus.corpus import Corpus
from models.generator import Generator, from_pixels
from models.registry import build
from models.spec import ModelSpec
from models.training.average import update_average, warmed
from models.training.config import TrainingConfig
from models.training.health import Watch
from models.training.recipe import Recipe
from models.training.sampling import Batches
from models.training.state import Notes, Progress, dump_state, load_state
from models.training.steps import pair_up

UNPLANNED: Final = 1 << 40
"""Steps of a run that only its minutes end, before its pace is known."""


class Learner:
    """Learns from `corpus`, a step at a time.

    recipe: the config's, with a batch size that the images fill.
    steps: of the whole run, over which step sizes fall where the recipe says so.
    """

    def __init__(
        self, config: TrainingConfig, recipe: Recipe, spec: ModelSpec, corpus: Corpus,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.config = config
        self.recipe = recipe
        self.spec = spec
        self.device = device
        self.batches = Batches(corpus, recipe.batch_size, config.seed, recipe.sampling)
        self.steps = planned_steps(config, recipe, self.batches.per_epoch)
        self.restart(1.0)

    def restart(self, rate_factor: float) -> None:
        """Fresh networks, as `seed` draws them, with step sizes times `rate_factor`."""
        self.rate_factor = rate_factor
        self.progress = Progress(0, 0.0)
        self.watch = Watch(self.recipe.loss)
        slower = self.recipe.with_overrides(
            {
                "generator_rate": self.recipe.generator_rate * rate_factor,
                "partner_rate": self.recipe.partner_rate * rate_factor,
            }
        )
        with _stream(self.config.seed, self.device):
            generator = build(self.spec).to(self.device)
            self.pair = pair_up(self.spec, generator, slower, self.steps or UNPLANNED)
        self.average: Generator = deepcopy(self.pair.generator).eval().requires_grad_(False)

    def step(self) -> dict[str, float]:
        """One step. Raises DivergenceError when its losses are beyond all measure."""
        started = time.perf_counter()
        step = self.progress.step
        images, labels = self._batch(step)
        with _stream((self.config.seed << 32) + step, self.device):
            losses = self.pair.update(images, labels, step)
        self.watch.see(step, losses)
        update_average(self.average, self.pair.generator, warmed(self.recipe.average_decay, step))
        self.progress = Progress(step + 1, self.progress.seconds + time.perf_counter() - started)
        return losses

    def spend(self, seconds: float) -> None:
        """Count time that the run took beside its steps."""
        self.progress = self.progress._replace(seconds=self.progress.seconds + seconds)

    def plan(self, steps: int) -> None:
        """Step sizes shall have fallen after so many steps in all."""
        for descent in self.pair.descents.values():
            descent.steps = steps

    def dump(self) -> bytes:
        """The whole state, for `restore`."""
        plan = next(iter(self.pair.descents.values())).steps
        notes = Notes(self.config.seed, self.progress, self.rate_factor, plan, self.watch.dump())
        return dump_state(self.pair, self.average, notes)

    def restore(self, path: Path, slower: float = 1.0) -> None:
        """Go on where `dump` was called, with step sizes times `slower`.

        Raises TrainingError for the state of another run.
        """
        notes = load_state(path, self.config.seed, self.pair, self.average)
        factor = notes.rate_factor * slower
        if factor != self.rate_factor:
            self.restart(factor)
            load_state(path, self.config.seed, self.pair, self.average)
        self.progress = notes.progress
        self.plan(notes.plan)
        self.watch.load(notes.watch)

    def _batch(self, step: int) -> tuple[Tensor, Tensor | None]:
        pixels, labels = self.batches.at(step)
        images = from_pixels(pixels, self.pair.generator.value_range).to(self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        if not self.spec.conditional:
            return images, None
        return images, torch.from_numpy(labels).to(self.device)


def planned_steps(config: TrainingConfig, recipe: Recipe, per_epoch: int) -> int | None:
    """Steps of the whole run; None where only its minutes end it."""
    if config.steps is not None:
        return config.steps
    if config.epochs is None and config.minutes is not None:
        return None
    return per_epoch * (config.epochs or recipe.epochs)


@contextmanager
def _stream(seed: int, device: torch.device) -> Iterator[None]:
    """A random stream of that seed; the caller's is left alone."""
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
