"""What several parts of an evaluation need, made when the first of them asks for it."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.corpus.corpus import Corpus
from models.errors import CheckpointError
from models.evaluation.features import FeatureExtractor, Features, PixelFeatures
from models.evaluation.matching import thinned
from models.evaluation.options import CLASSIFIER, PIXELS, EvaluationOptions
from models.evaluation.real_classifier import RealClassifier, real_classifier
from models.evaluation.sides import Sides


class Some(NamedTuple):
    """Some images of a corpus, at most as many as the options allow. places: which ones."""

    corpus: Corpus
    places: npt.NDArray[np.int64]


class Workbench:
    """Classifier, feature extractor, and the features of each side. cache: of classifiers."""

    def __init__(self, sides: Sides, options: EvaluationOptions, cache: Path) -> None:
        self.sides = sides
        self.options = options
        self.cache = cache

    @cached_property
    def judge(self) -> RealClassifier | None:
        """None for images of one class, which leave a classifier nothing to tell apart."""
        if len(self.sides.train.classes) < 2:
            return None
        seen = self.options.most_classifier_images
        return real_classifier(self.sides.learnt, seen, self.options.seed, self.cache)

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """The one that the options name; pixels in place of a classifier that can't be."""
        name = self.options.backbone
        if name == CLASSIFIER and self.judge is not None:
            return self.judge
        if name in (CLASSIFIER, PIXELS):
            return self.pixels
        if self.options.weights is None:
            raise CheckpointError(
                f"{name} needs its weights: name the file of its state dict (.pth or safetensors). "
                "Nothing is downloaded"
            )
        from models.evaluation.feature_torchvision import TorchvisionFeatures

        return TorchvisionFeatures(name, self.options.weights)

    @cached_property
    def pixels(self) -> PixelFeatures:
        """The images as they are."""
        return PixelFeatures(self.sides.train.image)

    @cached_property
    def samples(self) -> Some:
        """Of the subject."""
        return self._some(self.sides.subject.corpus)

    @cached_property
    def reference(self) -> Some:
        """Real images that samples are compared with."""
        return self._some(self.sides.reference)

    @cached_property
    def held_out(self) -> Some:
        """Real images that are compared in the samples' place."""
        return self._some(self.sides.held_out)

    def _some(self, corpus: Corpus) -> Some:
        places = thinned(corpus.labels, self.options.sample_limit, self.options.seed)
        return Some(corpus.take(places), places)

    @cached_property
    def sample_features(self) -> Features:
        """float32 [N, D] of `samples`."""
        return self.extractor.features(self.samples.corpus.images)

    @cached_property
    def reference_features(self) -> Features:
        """float32 [N, D] of `reference`."""
        return self.extractor.features(self.reference.corpus.images)

    @cached_property
    def held_out_features(self) -> Features:
        """float32 [N, D] of `held_out`."""
        return self.extractor.features(self.held_out.corpus.images)

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """int64 [N] of `samples`: their labels, or the classifier's guess where they have none."""
        if self.sides.subject.labelled or self.judge is None:
            return self.samples.corpus.labels
        return self.judge.guesses(self.samples.corpus.images)


def weights_digest(options: EvaluationOptions) -> str | None:
    """SHA-256 of the weights' file, if there is one."""
    if options.weights is None:
        return None
    try:
        with options.weights.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"the weights {options.weights.name} cannot be read ({error.strerror}); name the file "
            "of the network's state dict"
        ) from error
