"""From an npz to "does it help?": chest X-rays, one normal for every nine with pneumonia.

    python docs/tutorials/pneumonia.py --data pneumoniamnist.npz --out build/pneumonia

Reads the three splits, trains a generator on the training images, draws samples of both classes,
and measures the lift. A run that was stopped goes on when the same command is given again.
docs/tutorials/pneumonia.md explains each step and shows what came out.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from models.checkpoint import load
from models.corpus.corpus import Corpus
from models.corpus.read import read_splits
from models.evaluation.draw import draw_labelled
from models.evaluation.lift import measure_lift
from models.evaluation.lift_options import LiftOptions
from models.evaluation.lift_result import LiftResult
from models.evaluation.lift_table import markdown
from models.files import WEIGHTS_FILE
from models.training.config import TrainingConfig
from models.training.session import start

TRAINING = TrainingConfig(
    architecture="cvae",
    name="pneumonia-cvae",
    licence="CC-BY-4.0",
    options={"base": 16},
    settings={
        "sampling": "balanced",  # each batch is half normal, though one image in ten is
        "batch_size": 64,
        "latent_size": 32,
        "pixel_variance": 0.005,
        "generator_rate": 2e-3,
        "partner_rate": 2e-3,
        "rate_decay": "cosine",
        "average_decay": 0.99,
    },
    steps=3000,
    validation=0,  # the last snapshot is taken: the validation split is for the ratio
)
PER_CLASS = 4000
LIFT = LiftOptions(seeds=5, ratios=(0.5, 1.0, 2.0), alone=False)


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    splits = read_splits(options.data)
    train, validation, test = (splits[name] for name in ("train", "validation", "test"))

    outcome = start(TRAINING, train, options.out / "generator")
    generator = load(outcome.spec, options.out / "generator" / WEIGHTS_FILE)
    synthetic = draw_labelled(outcome.spec, generator, PER_CLASS, seed=0)
    draw_sheet(options.out / "samples.png", train, synthetic)

    def progress(what: str, done: float) -> None:
        print(f"{done:4.0%} {what}", flush=True)

    cache = options.out / "lift"
    found = measure_lift(train, test, synthetic, LIFT, cache, progress, validation=validation)
    (options.out / "lift.json").write_text(found.model_dump_json(indent=2))
    (options.out / "lift.md").write_text(markdown(found) + "\n")
    draw_lift(options.out / "lift.png", found)
    print(markdown(found))


def draw_sheet(path: Path, train: Corpus, synthetic: Corpus, columns: int = 16) -> None:
    """Of each class a row of real images and one of synthetic ones."""
    rows = [
        np.concatenate(list(corpus.images[corpus.labels == label][:columns]), axis=1)
        for label in range(len(train.classes))
        for corpus in (train, synthetic)
    ]
    sheet = np.concatenate(rows).squeeze(-1)
    Image.fromarray(sheet).resize((2 * sheet.shape[1], 2 * sheet.shape[0])).save(path)


def draw_lift(path: Path, found: LiftResult) -> None:
    """Balanced accuracy of each arm: a point a seed, the mean and its interval."""
    figure = Figure(figsize=(8, 0.5 + 0.4 * len(found.arms)), dpi=90, layout="constrained")
    axes = figure.add_subplot()
    for place, arm in enumerate(reversed(found.arms)):
        mean = arm.balanced_accuracy
        colour = "tab:orange" if arm.synthetic_images else "tab:blue"
        if mean.interval is not None:
            axes.plot([mean.interval.low, mean.interval.high], [place] * 2, color=colour)
        scores = [score.balanced_accuracy for score in arm.scores]
        axes.plot(scores, [place] * len(scores), "|", color=colour)
        axes.plot(mean.value, place, "o", color=colour)
    axes.axvline(found.arm(found.reference).balanced_accuracy.value, color="0.6", linestyle="--")
    axes.set_yticks(range(len(found.arms)), [arm.name for arm in reversed(found.arms)])
    axes.set_xlabel(f"balanced accuracy on {found.counts.test} test images")
    figure.savefig(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="pneumoniamnist.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder of everything made")
    return parser.parse_args()


if __name__ == "__main__":
    main()
