"""`synthloom train`: from labelled images to a checkpoint. Importing this is cheap (no torch)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import typer
from pydantic import JsonValue

from models.errors import ModelError
from models.training import options
from models.training.config import OPTIONS, TrainingConfig, configured


class Request(NamedTuple):
    """What the command line says: the run, and where its images and its files are.

    out: folder of the run; None for runs/NAME. tensorboard: for event files, if wanted.
    """

    config: TrainingConfig
    data: Path
    out: Path | None
    tensorboard: Path | None

    @property
    def folder(self) -> Path:
        """Where the run lives on this machine."""
        return self.out or Path("runs") / self.config.name


Runner = Callable[[Request], None]


def train_command(run: Runner) -> Callable[..., None]:
    """The command: it reads its options into a request, and `run` does the rest."""

    def train(
        architecture: options.Architecture,
        data: options.Data,
        name: options.Name,
        minutes: options.Minutes = None,
        steps: options.Steps = None,
        epochs: options.Epochs = None,
        seed: options.Seed = 0,
        settings: options.Settings = None,
        size: options.Size = None,
        channels: options.Channels = None,
        fit: options.Fit = "crop",
        split: options.Split = None,
        validation: options.Validation = 0.1,
        unconditional: options.Unconditional = False,
        version: options.Version = "1.0.0",
        licence: options.Licence = "unknown",
        description: options.Description = "",
        snapshot_minutes: options.SnapshotMinutes = None,
        snapshot_steps: options.SnapshotSteps = None,
        checkpoint_minutes: options.CheckpointMinutes = 2.0,
        keep: options.Keep = 3,
        patience: options.Patience = 8,
        threads: options.Threads = None,
        device: options.Device = "auto",
        out: options.Out = None,
        tensorboard: options.TensorBoard = None,
    ) -> None:
        """Train a generator on labelled images; the same command goes on where one was stopped."""
        try:
            config = configured(
                architecture=architecture, name=name, version=version, licence=licence,
                description=description, conditional=not unconditional, seed=seed, steps=steps,
                epochs=epochs, minutes=minutes, split=split, validation=validation,
                preprocessing=_preprocessing(size, channels, fit), snapshot_steps=snapshot_steps,
                snapshot_minutes=snapshot_minutes, checkpoint_minutes=checkpoint_minutes,
                keep=keep, patience=patience or None, threads=threads, device=device,
                **_settings(architecture, settings or []),
            )  # fmt: skip
        except ModelError as error:
            raise typer.BadParameter(str(error)) from error
        run(Request(config, data, out, tensorboard))

    return train


def _preprocessing(size: str | None, channels: int | None, fit: str) -> dict[str, Any] | None:
    if size is None and channels is None:
        return None
    if size is None or channels is None:
        raise typer.BadParameter("say both --size and --channels (1 for grey, 3 for RGB)")
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", size)
    if found is None:
        raise typer.BadParameter(f"{size!r} is no size; write HEIGHTxWIDTH, such as 28x28")
    height, width = found.groups()
    return {"height": int(height), "width": int(width or height), "channels": channels, "fit": fit}


def _settings(architecture: str, given: list[str]) -> dict[str, dict[str, JsonValue]]:
    """KEY=VALUE to options of the architecture, and of the recipe what is not one of those."""
    parts: dict[str, dict[str, JsonValue]] = {"settings": {}, "options": {}}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign:
            raise typer.BadParameter(f"{text!r} is no setting; write KEY=VALUE")
        group = "options" if key in OPTIONS.get(architecture, ()) else "settings"
        parts[group][key] = _value(value)
    return parts


def _value(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value


def train_here(request: Request) -> None:
    """The runner of this machine."""
    from models.training.local import run

    run(request.config, request.data, request.folder, request.tensorboard)
