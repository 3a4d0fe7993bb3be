"""The options of `synthloom train`, as its command line shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from models.training.recipes import RECIPES

Architecture = Annotated[str, typer.Option(help=f"One of: {', '.join(sorted(RECIPES))}.")]
Data = Annotated[
    Path,
    typer.Option(
        metavar="PATH",
        help="Labelled images: class folders, ImageFolder, npz, Parquet, IDX; a folder, a zip or"
        " a file.",
    ),
]
Name = Annotated[str, typer.Option(help="Of the model.")]
Minutes = Annotated[float | None, typer.Option(help="End after so many.")]
Steps = Annotated[int | None, typer.Option(help="End after so many.")]
Epochs = Annotated[
    int | None,
    typer.Option(
        help="End after so many passes over the images; the recipe's if nothing else ends it."
    ),
]
Seed = Annotated[int, typer.Option(help="Of weights, order of images, latents.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="An option of the recipe or of the architecture; may be repeated.",
    ),
]
Size = Annotated[str | None, typer.Option(metavar="HEIGHTxWIDTH", help="Bring all images to it.")]
Channels = Annotated[int | None, typer.Option(help="1 for grey, 3 for RGB; with --size.")]
Fit = Annotated[
    Literal["crop", "pad", "stretch"], typer.Option(help="Images of another aspect ratio.")
]
Split = Annotated[str | None, typer.Option(help="Of the dataset; train if left out.")]
Validation = Annotated[
    float,
    typer.Option(
        help="Share or number of images that choose the best snapshot and teach nothing; 0 for"
        " none."
    ),
]
Unconditional = Annotated[bool, typer.Option(help="Learn without labels.")]
Version = Annotated[str, typer.Option(help="Of the model.")]
Licence = Annotated[str, typer.Option(help="Of the weights.")]
Description = Annotated[str, typer.Option(help="Of the model, in a sentence.")]
SnapshotMinutes = Annotated[float | None, typer.Option(help="Between snapshots.")]
SnapshotSteps = Annotated[int | None, typer.Option(help="Between snapshots.")]
CheckpointMinutes = Annotated[float, typer.Option(help="Between saves of the whole state.")]
Keep = Annotated[int, typer.Option(help="Snapshots that stay, the best ones.")]
Patience = Annotated[
    int, typer.Option(help="End after so many snapshots without a better figure; 0 never does.")
]
Threads = Annotated[int | None, typer.Option(help="Of the processor; all if left out.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="To compute on.")]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of the run; runs/NAME if left out. An interrupted run goes on there.",
    ),
]
TensorBoard = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write event files for TensorBoard there.")
]
