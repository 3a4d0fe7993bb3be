"""`python -m tests.benchmarks.lift_repeats`: does a lift come out again with other seeds?

A report gives a lift with an interval. The same measurement is repeated 20 times with seeds that
the report did not use, and the share of repeats whose lift lies inside the report's interval is
counted. One report may be lucky; so every repeat is also taken as the report of all others.

Digits of scikit-learn, 8x8, and a `cvae` that learns from their training images only:

    enough   500 training images, one synthetic image for each
    short    the same with 10 eights, filled up to the others with synthetic ones
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from models.checkpoint import load
from models.corpus.corpus import Corpus
from models.evaluation.draw import draw_labelled
from models.evaluation.lift import measure_lift
from models.evaluation.lift_options import LiftOptions
from models.evaluation.lift_result import Difference
from models.files import WEIGHTS_FILE
from models.training.config import TrainingConfig
from models.training.session import start

REPEATS = 20
TRAINING = 500
EIGHTS = 10
STEPS = 1500
SHORT = 8
QUICK = LiftOptions(alone=False, only=False, steps=100, batch_size=64)


def measure(folder: Path, repeats: int = REPEATS) -> Iterator[dict[str, float]]:
    """Shares of repeats inside, of each setting, and the lower one of each."""
    torch.set_num_threads(1)
    train, test = digits()
    eights = np.flatnonzero(train.labels == SHORT)
    few = train.take(np.delete(np.arange(len(train)), eights[EIGHTS:]))
    settings = {
        "enough": (train, QUICK.model_copy(update={"ratios": (1.0,), "balance": False})),
        "short": (few, QUICK.model_copy(update={"ratios": (), "balance": True})),
    }
    found: list[dict[str, float]] = []
    for name, (learnt, options) in settings.items():
        found.append(repeated(learnt, test, options, folder / name, repeats))
        yield {f"lift_{name}_{figure}": value for figure, value in found[-1].items()}
    for figure in ("repeats_inside", "pairs_inside"):
        yield {f"lift_{figure}": min(one[figure] for one in found)}


def repeated(
    train: Corpus, test: Corpus, options: LiftOptions, folder: Path, repeats: int
) -> dict[str, float]:
    """A report, its repeats, and how many of them it foresaw."""
    synthetic = drawn(train, folder)
    lifts = [
        lift(train, test, synthetic, options, folder / "cache", number)
        for number in range(repeats + 1)
    ]
    as_reports = [
        share_inside(report, lifts[:place] + lifts[place + 1 :])
        for place, report in enumerate(lifts)
    ]
    return {
        "points": 100 * lifts[0].value,
        "points_low": 100 * lifts[0].interval.low,
        "points_high": 100 * lifts[0].interval.high,
        "spread": 100 * float(np.std([one.value for one in lifts], ddof=1)),
        "repeats_inside": as_reports[0],
        "pairs_inside": float(np.mean(as_reports)),
    }


def digits() -> tuple[Corpus, Corpus]:
    """500 images to learn from, the other 1,297 to test on."""
    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    order = np.random.default_rng(0).permutation(len(pixels))
    corpus = Corpus(pixels, bunch.target.astype(np.int64), tuple("0123456789")).take(order)
    return corpus.split(len(corpus) - TRAINING)


def drawn(corpus: Corpus, folder: Path) -> Corpus:
    """1,000 samples of a generator that learnt from `corpus`, classes in turn."""
    config = TrainingConfig(
        architecture="cvae", name="digits", steps=STEPS, validation=0, threads=1,
        settings={"sampling": "balanced", "batch_size": 64}, options={"base": 16},
        checkpoint_minutes=60,
    )  # fmt: skip
    outcome = start(config, corpus, folder)
    generator = load(outcome.spec, folder / WEIGHTS_FILE)
    return draw_labelled(outcome.spec, generator, 100, seed=0)


def lift(
    train: Corpus, test: Corpus, synthetic: Corpus, options: LiftOptions, cache: Path, number: int
) -> Difference:
    """The lift of the only arm that there is to recommend, with seeds of its own."""
    own = options.model_copy(update={"first_seed": number * options.seeds})
    found = measure_lift(train, test, synthetic, own, cache).lift
    assert found is not None
    return found


def share_inside(report: Difference, repeats: Sequence[Difference]) -> float:
    """Share of the repeats whose lift lies in the report's interval."""
    ends = report.interval
    return float(np.mean([ends.low <= one.value <= ends.high for one in repeats]))


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(prefix="synthloom-lift-") as folder:
        for found in measure(Path(folder)):
            for name, value in found.items():
                sys.stdout.write(f"{name} {value:.3f}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
