"""The classifier that judges samples: it has learnt from real training images and nothing else.

Its verdicts are the label agreement, and what it computes before them are the default features.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.checkpoint import load_classifier, save_classifier
from models.classifier import Classifier
from models.classifier_spec import ClassifierSpec
from models.corpus.corpus import Corpus
from models.evaluation.features import Features, Pixels, in_batches, resized
from models.evaluation.findings import Backbone
from models.evaluation.space import reduced
from models.files import CLASSIFIER_FILE, WEIGHTS_FILE, read_classifier_spec
from models.generator import PIXEL_MAX
from models.spec import ImageShape, Weights
from models.training.classify import Budget, fit

SIDE: Final = 64
"""Larger images are averaged down to this for the classifier."""

LEAST_IMAGES, PASSES = 40_000, 4
"""The classifier sees each image PASSES times, but so many in all at least."""

PROCEDURE: Final = 1
"""Raised when the same data would give another classifier, so that kept ones are not used."""

SHIFT: Final = 1
MOST_REPEATS: Final = 20
SCALED_ON: Final = 5000


class RealClassifier:
    """A trained classifier: verdicts, and features.

    The features of an image are the means of each channel after each of the three blocks of
    convolutions, and the last hidden layer: from texture to class. Each is divided by its standard
    deviation over the images that it learnt from, after its mean is taken away.
    """

    def __init__(self, classifier: Classifier, spec: ClassifierSpec, learnt: Pixels) -> None:
        self.classifier = classifier
        self.classes = spec.classes
        raw = in_batches(learnt[:SCALED_ON], self._raw)
        self._mean = raw.mean(axis=0)
        self._deviation = np.maximum(raw.std(axis=0), 1e-6)
        self.backbone = Backbone(
            name="classifier of the real images",
            sha256=spec.sha256,
            size=raw.shape[1],
            note=str(spec.description),
        )

    def features(self, images: Pixels) -> Features:
        scaled: Features = (in_batches(images, self._raw) - self._mean) / self._deviation
        return scaled

    def guesses(self, images: Pixels) -> npt.NDArray[np.int64]:
        """uint8 [N, H, W, C] -> int64 [N]: the likeliest class of each image."""
        found: npt.NDArray[np.int64] = in_batches(images, self._logits).argmax(axis=1)
        return found

    def _raw(self, images: Tensor) -> Tensor:
        found = []
        images = resized(images, self.classifier.image)
        for layer in self.classifier.features:
            images = layer(images)
            if isinstance(layer, nn.ReLU):
                found.append(images.mean(dim=(2, 3)))
        found.append(self.classifier.head[:-1](images))
        return torch.cat(found, dim=1)  # [N, 32 + 64 + 64 + 128]

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(resized(images, self.classifier.image))
        return logits


def real_classifier(learnt: Corpus, most_images: int, seed: int, cache: Path) -> RealClassifier:
    """The classifier that has learnt from `learnt` only, from `cache` when it is there.

    most_images: how many it sees at most, with repetition.
    """
    shape = reduced(learnt.image, SIDE)
    budget = _budget(learnt, most_images, seed)
    facts = {"procedure": PROCEDURE, "data": learnt.sha256, "budget": asdict(budget)}
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    folder = cache / f"classifier-{key[:32]}"
    if not (folder / CLASSIFIER_FILE).exists():
        classifier = fit(_even(_at(learnt, shape)), budget)
        save_classifier(folder, _draft(learnt, shape, budget), classifier, torch.float32)
    spec = read_classifier_spec(folder)
    return RealClassifier(load_classifier(spec, folder / WEIGHTS_FILE), spec, learnt.images)


def _budget(learnt: Corpus, most_images: int, seed: int) -> Budget:
    batch = min(128, len(learnt))
    wanted = min(max(PASSES * len(learnt), LEAST_IMAGES), most_images)
    return Budget(steps=-(-wanted // batch), batch_size=batch, shift=SHIFT, seed=seed)


def _draft(learnt: Corpus, shape: ImageShape, budget: Budget) -> ClassifierSpec:
    return ClassifierSpec(
        name="evaluation-classifier",
        version="1",
        image=shape,
        classes=learnt.classes,
        licence="that of the images it learnt from",
        description=(
            f"learnt from {len(learnt):,} real images at {shape.height}x{shape.width}, "
            f"{budget.steps:,} batches of {budget.batch_size}"
        ),
        weights=Weights(sha256="0" * 64, bytes=1),
    )


def _at(corpus: Corpus, shape: ImageShape) -> Corpus:
    """The images at the size that the classifier takes."""
    if corpus.image == shape:
        return corpus
    levels = in_batches(corpus.images, lambda batch: resized(batch, shape).flatten(1))
    pixels = np.rint(levels * PIXEL_MAX).astype(np.uint8)
    height, width, channels = shape.height, shape.width, shape.channels
    images = pixels.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    return Corpus(np.ascontiguousarray(images), corpus.labels, corpus.classes)


def _even(corpus: Corpus) -> Corpus:
    """Images of short classes repeated, until no class has fewer than half of the largest."""
    counts = corpus.counts
    places = []
    for label in np.flatnonzero(counts):
        own = np.flatnonzero(corpus.labels == label)
        times = max(1, int(counts.max() // (2 * len(own))))
        places.append(np.tile(own, min(times, MOST_REPEATS)))
    return corpus.take(np.sort(np.concatenate(places)))
