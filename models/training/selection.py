"""The judge of a run's snapshots: a small classifier that has learnt from the run's real images.

It is trained once a run, on what the generator learns from, and kept in the run's folder. A
snapshot's score is the sum of three figures that are 0 for real images: the kernel distance (KID,
Bińkowski et al. 2018) between its features of samples and of the validation images; the share of
samples whose class it does not confirm; and what the samples of a class lack to the distances that
real ones have, as KID hardly sees three images of a class repeated. Losses of a GAN say nothing
about its samples, and those of an autoencoder little.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics.pairwise import polynomial_kernel

from models.classifier import Classifier
from models.corpus.corpus import Corpus
from models.generator import Generator, as_tensor, from_pixels, sample
from models.latents import normal
from models.training.health import DivergenceError
from models.training.reduced import reduced
from models.training.snapshots import Judged

FEWEST_SAMPLES: Final = 1000
MOST_SAMPLES: Final = 2000
BATCH: Final = 250
FEWEST_PAIRS: Final = 5
"""Images of a class below which nothing is said of their distances."""

Features = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


class Verdict(NamedTuple):
    """features float64 [N, D] and the likeliest label int64 [N] of each image."""

    features: Features
    labels: Labels


class Judge:
    """Compares samples with `real`, the validation images, by what `classifier` makes of both.

    labelled: whether the classifier knows the classes of the images; else it has learnt something
    else of them, and there is no agreement.
    """

    def __init__(self, classifier: Classifier, real: Corpus, labelled: bool) -> None:
        self.classifier = classifier
        self.labelled = labelled
        self.real = real.take(slice(MOST_SAMPLES))
        self.count = min(max(len(self.real), FEWEST_SAMPLES), MOST_SAMPLES)
        verdict = self._verdict(self.real.images)
        self.scale = float(np.sqrt(np.square(verdict.features).mean())) or 1.0
        self.features = verdict.features / self.scale  # mean square 1: distances have a known size
        self.accuracy = float((verdict.labels == self.real.labels).mean()) if labelled else None

    def judge(self, generator: Generator) -> Judged:
        """Figures of `generator` for as many samples of each class as the real images have.

        Always the same latents, so snapshots differ by what they learnt and not by the draw.
        Raises DivergenceError for samples that are no numbers.
        """
        asked = np.resize(self.real.labels, self.count)
        conditional = generator.class_count > 0
        verdict, distinct = self._samples(generator, asked if conditional else None)
        features = verdict.features / self.scale
        kid = kernel_distance(self.features, features)
        told = conditional and self.labelled
        agreement = float((verdict.labels == asked).mean()) if told else None
        labels = (self.real.labels, asked) if conditional else None
        diversity = _diversity(self.features, features, labels)
        return Judged(
            score=kid + _lacking(agreement) + _lacking(diversity),
            kid=kid,
            label_agreement=agreement,
            diversity=diversity,
            distinct=distinct / self.count,
            samples=self.count,
            real_images=len(self.real),
        )

    def _samples(self, generator: Generator, labels: Labels | None) -> tuple[Verdict, int]:
        """The verdict on `count` samples, and how many of them are distinct, to the pixel."""
        verdicts, seen = [], set()
        for start in range(0, self.count, BATCH):
            size = min(BATCH, self.count - start)
            z = normal(
                seed=0, model="0" * 64, shard=0, first=start, count=size,
                size=generator.latent_size,
            )  # fmt: skip
            made = sample(generator, z, None if labels is None else labels[start : start + size])
            if not made.finite.all():
                raise DivergenceError("the generator makes images that are no numbers")
            seen |= {blake2b(image.tobytes()).digest() for image in made.pixels}
            verdicts.append(self._verdict(made.pixels))
        return Verdict(*map(np.concatenate, zip(*verdicts, strict=True))), len(seen)

    @torch.inference_mode()
    def _verdict(self, images: npt.NDArray[np.uint8]) -> Verdict:
        shown = reduced(images)
        features, labels = [], []
        for start in range(0, len(shown), BATCH):
            batch = from_pixels(shown[start : start + BATCH], self.classifier.value_range)
            hidden = self.classifier.head[:-1](self.classifier.features(batch))  # [B, 128]
            features.append(hidden.double().numpy())
            labels.append(self.classifier.head[-1](hidden).argmax(dim=1).numpy())
        return Verdict(np.concatenate(features), np.concatenate(labels))


def kernel_distance(real: Features, made: Features) -> float:
    """KID of all pairs: the unbiased squared MMD with the kernel (x·y / D + 1)³.

    float64 [N, D] and [M, D]; Bińkowski et al. 2018, eq. 4.
    """

    def kernel(a: Features, b: Features) -> Features:
        values: Features = polynomial_kernel(a, b, degree=3, gamma=1 / a.shape[1], coef0=1)
        return values

    def within(points: Features) -> float:
        pairs = kernel(points, points)
        return float((pairs.sum() - np.trace(pairs)) / (len(points) * (len(points) - 1)))

    return within(real) + within(made) - 2 * float(kernel(real, made).mean())


def _diversity(
    real: Features,
    made: Features,
    labels: tuple[Labels, Labels] | None,
) -> float | None:
    """Mean distance of two samples over that of two real images; the mean over the classes.

    labels: of `real` and `made`, or None to take all as one class. None where no class has enough
    images, or real images that differ.
    """
    if labels is None:
        groups = [(real, made)]
    else:
        of_real, of_made = labels
        both = np.intersect1d(of_real, of_made)
        groups = [(real[of_real == label], made[of_made == label]) for label in both]
    ratios = [
        _spread(samples) / spread
        for images, samples in groups
        if min(len(images), len(samples)) >= FEWEST_PAIRS and (spread := _spread(images)) > 0
    ]
    return float(np.mean(ratios)) if ratios else None


def _lacking(share: float | None) -> float:
    """What is missing to 1; nothing where there is no such figure."""
    return 0.0 if share is None else max(0.0, 1.0 - share)


def _spread(points: Features) -> float:
    """Mean Euclidean distance of two different rows."""
    count = len(points)
    distances = torch.cdist(as_tensor(points), as_tensor(points))
    return float(distances.sum()) / (count * (count - 1))
