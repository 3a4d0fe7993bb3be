"""`synthloom train`: from labelled images to a checkpoint. Importing this is cheap (no torch)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer
from pydantic import JsonValue

from models.errors import ModelError
from models.training.config import OPTIONS, TrainingConfig, configured
from models.training.recipes import RECIPES


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
        architecture: Annotated[str, typer.Option(help=f"One of: {', '.join(sorted(RECIPES))}.")],
        data: Annotated[Path, typer.Option(metavar="PATH", help="Labelled images: class folders,"
                        " ImageFolder, npz, Parquet, IDX; a folder, a zip or a file.")],
        name: Annotated[str, typer.Option(help="Of the model.")],
        minutes: Annotated[float | None, typer.Option(help="End after so many.")] = None,
        steps: Annotated[int | None, typer.Option(help="End after so many.")] = None,
        epochs: Annotated[int | None, typer.Option(help="End after so many passes over the images;"
                          " the recipe's if nothing else ends it.")] = None,
        seed: Annotated[int, typer.Option(help="Of weights, order of images, latents.")] = 0,
        settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE",
                            help="An option of the recipe or of the architecture; may be"
                            " repeated.")] = None,
        size: Annotated[str | None, typer.Option(metavar="HEIGHTxWIDTH",
                        help="Bring all images to it.")] = None,
        channels: Annotated[int | None, typer.Option(help="1 for grey, 3 for RGB; with"
                            " --size.")] = None,
        fit: Annotated[Literal["crop", "pad", "stretch"], typer.Option(
                       help="Images of another aspect ratio.")] = "crop",
        split: Annotated[str | None, typer.Option(help="Of the dataset; train if left out.")]
        = None,
        validation: Annotated[float, typer.Option(help="Share or number of images that choose the"
                              " best snapshot and teach nothing; 0 for none.")] = 0.1,
        unconditional: Annotated[bool, typer.Option(help="Learn without labels.")] = False,
        version: Annotated[str, typer.Option(help="Of the model.")] = "1.0.0",
        licence: Annotated[str, typer.Option(help="Of the weights.")] = "unknown",
        description: Annotated[str, typer.Option(help="Of the model, in a sentence.")] = "",
        snapshot_minutes: Annotated[float | None, typer.Option(help="Between snapshots.")] = None,
        snapshot_steps: Annotated[int | None, typer.Option(help="Between snapshots.")] = None,
        checkpoint_minutes: Annotated[float, typer.Option(help="Between saves of the whole"
                                      " state.")] = 2.0,
        keep: Annotated[int, typer.Option(help="Snapshots that stay, the best ones.")] = 3,
        patience: Annotated[int, typer.Option(help="End after so many snapshots without a better"
                            " figure; 0 never does.")] = 8,
        threads: Annotated[int | None, typer.Option(help="Of the processor; all if left out.")]
        = None,
        device: Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option()] = "auto",
        out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the run; runs/NAME"
                       " if left out. An interrupted run goes on there.")] = None,
        tensorboard: Annotated[Path | None, typer.Option(metavar="DIR", help="Write event files"
                               " for TensorBoard there.")] = None,
    ) -> None:  # fmt: skip
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
