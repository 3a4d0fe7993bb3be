"""How the judge of a run comes to be: trained once, in bounded time, kept in the run's folder."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Final

import numpy as np
import torch

from models.checkpoint import load_classifier, save_classifier
from models.classifier_spec import ClassifierSpec
from models.corpus.corpus import Corpus
from models.files import CLASSIFIER_FILE, WEIGHTS_FILE, read_classifier_spec
from models.spec import Weights
from models.training.classify import Budget, fit
from models.training.config import TrainingConfig
from models.training.health import Finding
from models.training.reduced import reduced
from models.training.selection import Judge

logger = logging.getLogger(__name__)

FOLDER: Final = "judge"
SHARE: Final = 0.1
"""Of the run's minutes that the judge may take to learn."""
IMAGES_SHOWN: Final = 120_000
PASSES: Final = (2, 6)
LEAST_STEPS: Final = 60
LEAST_SIDE: Final = 4
TURNS: Final = ("0", "90", "180", "270")
BATCH_SIZE: Final = 64
TIMED_STEPS: Final = 4


def judge_of(
    directory: Path, config: TrainingConfig, train: Corpus, validation: Corpus
) -> Judge | None:
    """The run's judge, trained now or before; None for images too small to tell apart."""
    if min(reduced(train.images[:1]).shape[1:3]) < LEAST_SIDE:
        return None
    folder = directory / FOLDER
    labelled = int((train.counts > 0).sum()) > 1
    if not (folder / CLASSIFIER_FILE).exists():
        shown = train if labelled else turned(train, config.seed)
        _train(folder, config, _smaller(shown))
    spec = read_classifier_spec(folder)
    return Judge(load_classifier(spec, folder / WEIGHTS_FILE), validation, labelled)


def turned(corpus: Corpus, seed: int) -> Corpus:
    """Images without classes get some: each is turned by a quarter, and its turn is its class.

    To tell them, a network must know what is in the images (Gidaris et al. 2018). Images that are
    not square are upright or upside down.
    """
    _, height, width, _ = corpus.images.shape
    turns = np.arange(4) if height == width else np.array([0, 2])
    labels = np.random.default_rng([seed, len(corpus)]).choice(turns, len(corpus))
    images = corpus.images.copy()
    for turn in turns[1:]:
        images[labels == turn] = np.rot90(images[labels == turn], turn, axes=(1, 2))
    return Corpus(images, labels.astype(np.int64), TURNS)


def _smaller(corpus: Corpus) -> Corpus:
    return Corpus(reduced(corpus.images), corpus.labels, corpus.classes)


def _train(folder: Path, config: TrainingConfig, corpus: Corpus) -> None:
    started = time.perf_counter()
    steps = _steps(config, corpus)
    budget = Budget(steps=steps, batch_size=min(BATCH_SIZE, len(corpus)), seed=config.seed)
    classifier = fit(corpus, budget)
    seconds = time.perf_counter() - started
    draft = ClassifierSpec(
        name="judge",
        version="1.0.0",
        image=corpus.image,
        classes=corpus.classes,
        licence=config.licence,
        weights=Weights(sha256="0" * 64, bytes=1),
        training={"images": len(corpus), "steps": steps, "seconds": round(seconds, 1)},
    )
    save_classifier(folder, draft, classifier, torch.float32)
    logger.info("judge: %d steps in %.1f s", steps, seconds)


def _steps(config: TrainingConfig, corpus: Corpus) -> int:
    """Each image shown 2 to 6 times; fewer where the minutes of the run are short."""
    batch = min(BATCH_SIZE, len(corpus))
    low, high = PASSES
    passes = min(max(IMAGES_SHOWN // len(corpus), low), high)
    wanted = max(LEAST_STEPS, passes * (len(corpus) // batch))
    if config.minutes is None:
        return wanted
    fit(corpus, Budget(steps=TIMED_STEPS, batch_size=batch))  # the first steps are slow
    started = time.perf_counter()
    fit(corpus, Budget(steps=TIMED_STEPS, batch_size=batch))
    pace = (time.perf_counter() - started) / TIMED_STEPS
    return max(LEAST_STEPS, min(wanted, int(SHARE * config.minutes * 60 / pace)))


def weakness(judge: Judge | None, validation: Corpus | None) -> list[Finding]:
    """What is to be said of figures by that judge."""
    if validation is None:
        return []
    if judge is None:
        detail = "The images are too small to be told apart: the last snapshot is taken unjudged."
        return [Finding(code="no-judge", step=0, detail=detail)]
    largest = float(validation.counts.max() / len(validation))
    if judge.accuracy is None or judge.accuracy > largest:
        return []
    detail = (
        f"The judge names the class of {judge.accuracy:.0%} of the validation images, no more than "
        f"always naming the largest ({largest:.0%}): the figures of this run say little. Give it "
        "more minutes or more images."
    )
    return [Finding(code="weak-judge", step=0, detail=detail)]
