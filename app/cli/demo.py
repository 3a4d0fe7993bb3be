"""`synthloom demo`: the whole way, from an empty folder to a dataset that is looked at."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from app.cli.delivery import Delivery, deliver
from app.cli.embedded import embedded_service
from app.cli.failures import CommandError, ExitCode
from app.cli.generate import show
from app.cli.progress import reporter
from app.cli.terminal import plain, say, stdout
from app.client import Client
from app.client_types import JobRequest
from app.datasets.contact_sheet import Row, contact_sheet
from app.datasets.description import Description
from app.datasets.members import DESCRIPTION

MARKER = ".synthloom-demo"
IMAGES_A_ROW = 12


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the demo, made anew.")
    ] = Path("build/demo"),
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="Model to ask.")
    ] = "fashion-cgan",
    per_class: Annotated[
        int, typer.Option("--per-class", min=1, metavar="N", help="Samples a class.")
    ] = 100,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="SEED", help="Seed of the samples.")
    ] = 7,
) -> None:
    """Start a service, fill every class, verify, look at the result, stop the service."""
    folder = _fresh(out)
    request = JobRequest(
        model=model, samples_per_class=per_class, seed=seed, formats=["imagefolder"]
    )
    say("Starting the service on a free port ...")
    with embedded_service(folder / "service") as running, reporter() as shown:
        say(f"It answers at {running.url}. Asking {model} for {per_class:,} of each class ...")
        with Client(running.url, running.api_key) as client:
            delivery = deliver(client, request, folder / "dataset", shown, keep_archive=True)
    say("The service is stopped. Opening the dataset as a trainer would ...")
    _check_image_folder(delivery)
    sheet = folder / "contact-sheet.png"
    sheet.write_bytes(_sheet(delivery))
    show(delivery, out / "dataset")
    lines = [
        f"torchvision.datasets.ImageFolder found {delivery.job.samples:,} images in "
        f"{len(delivery.job.samples_per_class)} classes.",
        f"Contact sheet: {out / sheet.name}",
    ]
    for line in lines:
        stdout().print(plain(line), soft_wrap=True)


def _fresh(out: Path) -> Path:
    """An empty folder; only what an earlier demo made is removed."""
    folder = out.absolute()
    if folder.exists() and not (folder / MARKER).exists() and any(folder.iterdir()):
        raise CommandError(
            f"{out} was not made by the demo and is not replaced; name another folder with --out.",
            ExitCode.USAGE,
        )
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()
    return folder


def _check_image_folder(delivery: Delivery) -> None:
    """Counts what the library that trainers use sees."""
    from torchvision.datasets import ImageFolder  # slow to import, needed only here

    directories = _description(delivery).directories
    dataset = ImageFolder(str(delivery.folder))
    counts = Counter(dataset.classes[label] for label in dataset.targets)
    asked = {directories[name]: count for name, count in delivery.job.samples_per_class.items()}
    if counts != asked or len(dataset) != delivery.job.samples:
        raise CommandError(
            f"ImageFolder sees {dict(counts)} in {delivery.folder}, not {asked}.",
            ExitCode.UNVERIFIED,
        )


def _sheet(delivery: Delivery) -> bytes:
    """The first images of each class."""
    rows: list[Row] = []
    for name, directory in _description(delivery).directories.items():
        files = sorted((delivery.folder / directory).glob("*.png"))[:IMAGES_A_ROW]
        rows.append((name, [_pixels(file) for file in files]))
    models = ", ".join(f"{model.name}@{model.version}" for model in delivery.job.models)
    return contact_sheet(rows, title=f"{models}, seed {delivery.job.seed}")


def _pixels(file: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(file, formats=("PNG",)) as image:
        pixels = np.asarray(image, np.uint8)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _description(delivery: Delivery) -> Description:
    return Description.model_validate_json((delivery.folder / DESCRIPTION).read_bytes())
