"""`synthloom train`: from labelled images to a checkpoint. Importing this is cheap (no torch)."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from models.errors import ModelError
from models.training.config import RECIPES, TrainingConfig


def train(
    architecture: Annotated[str, typer.Argument(help="mlp_gan, cgan, vae or cvae")],
    data: Annotated[Path, typer.Option(help="Folder of gzipped IDX files, or an npz")],
    name: Annotated[str, typer.Option(help="Name of the model")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run goes on there")],
    unconditional: Annotated[bool, typer.Option(help="Learn without labels")] = False,
    minutes: Annotated[float | None, typer.Option(help="Stop after so many")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the images")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order, latents")] = 0,
    base: Annotated[int, typer.Option(help="Channels at full size (convolutional ones)")] = 32,
    snapshot_minutes: Annotated[float, typer.Option(help="Between snapshots")] = 5.0,
    validation: Annotated[int, typer.Option(help="Last images kept out of training")] = 0,
    pixel_variance: Annotated[
        float | None, typer.Option(help="Of the normal about each pixel (vae, cvae)")
    ] = None,
    bfloat16: Annotated[bool, typer.Option(help="Products in bfloat16")] = False,
    threads: Annotated[int, typer.Option(help="Processor threads")] = 1,
) -> None:
    """Train a generator on labelled images and save it as a checkpoint."""
    if architecture not in RECIPES:
        raise typer.BadParameter(f"{architecture!r} is not one of: {', '.join(sorted(RECIPES))}")
    config = TrainingConfig(
        architecture=architecture, name=name, conditional=not unconditional, base=base, seed=seed,
        epochs=epochs, minutes=minutes, snapshot_minutes=snapshot_minutes, validation=validation,
        pixel_variance=pixel_variance, bfloat16=bfloat16, threads=threads,
    )  # fmt: skip
    try:
        _train(config, data, out)
    except ModelError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _train(config: TrainingConfig, data: Path, out: Path) -> None:
    from models.corpus.read import read
    from models.training.callbacks import Callback, LossTable, ProgressBar, SampleGrid
    from models.training.session import start

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    out.mkdir(parents=True, exist_ok=True)
    callbacks: list[Callback] = [LossTable(out / "losses.csv"), SampleGrid()]
    if sys.stderr.isatty():
        callbacks.append(ProgressBar())
    outcome = start(config, read(data), out, callbacks)
    typer.echo(
        f"{outcome.spec.name}: {outcome.epochs:.1f} epochs in "
        f"{outcome.progress.seconds / 60:.1f} minutes, saved to {out}"
    )
