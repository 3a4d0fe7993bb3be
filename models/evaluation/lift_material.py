"""The images of a lift, checked: nothing is tested on what anything has learnt from. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from models.corpus.corpus import Corpus
from models.errors import DatasetError
from models.evaluation.lift_options import LiftOptions
from models.evaluation.lift_result import Counts

LEAST_SIDE = 4
FOLDS = 5

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Material:
    """Images that share size and class names, and no image between test and the others.

    validation: given by the caller; without, each seed keeps another part of `train` out.
    train_duplicates, test_duplicates: how many images were dropped.
    """

    train: Corpus
    test: Corpus
    synthetic: Corpus
    validation: Corpus | None
    train_duplicates: int
    test_duplicates: int

    def part(self, seed: int) -> tuple[Corpus, Corpus]:
        """What a seed learns from, and what it is validated on.

        Seed s keeps the fold s mod 5 out, a fifth of each class; all of a class that has fewer
        than 5 images is learnt from.
        """
        if self.validation is not None:
            return self.train, self.validation
        kept_out = _folds(self.train.labels) == seed % FOLDS
        if not kept_out.any():
            raise DatasetError(
                f"no class has {FOLDS} training images, so none can be kept out to choose a ratio"
            )
        return self.train.take(~kept_out), self.train.take(kept_out)

    @property
    def held_out(self) -> str:
        """A sentence for the result."""
        last = f"the {len(self.test):,} test images took part in nothing but the last measurement"
        if self.validation is not None:
            return (
                f"{len(self.validation):,} validation images that no classifier learnt from chose "
                f"the ratio; {last}."
            )
        return (
            "Each seed kept another fifth of the training images out to choose the ratio. The "
            "synthetic images may come from a model that learnt from all of them, so that choice "
            f"may favour synthetic images; {last}."
        )

    @property
    def counts(self) -> Counts:
        """Images by split."""
        return Counts(
            train=len(self.train),
            train_per_class=per_class(self.train),
            validation=len(self.part(0)[1]),
            test=len(self.test),
            test_per_class=per_class(self.test),
            synthetic=len(self.synthetic),
            synthetic_per_class=per_class(self.synthetic),
            train_duplicates=self.train_duplicates,
            test_duplicates=self.test_duplicates,
        )


def prepare(
    train: Corpus, test: Corpus, synthetic: Corpus, validation: Corpus | None, options: LiftOptions
) -> Material:
    """Bring the sets under one list of classes and drop what must not be there twice.

    Raises DatasetError for images of another size or class, and for test images that are
    training or synthetic images too, beyond the share that is dropped.
    """
    test, synthetic = _alike(test, train, "test"), _alike(synthetic, train, "synthetic")
    fresh = _first_ones(train)
    seen = {*_digests(train), *_digests(synthetic)}
    if validation is not None:
        validation = _alike(validation, train, "validation")
        validation = _without(validation, set(_digests(train)), "validation")
        seen |= set(_digests(validation))
    clean = _without(test, seen, "test")
    shared = len(test) - len(clean)
    if shared > options.most_shared * len(test):
        raise DatasetError(
            f"{shared} of {len(test)} test images are training or synthetic images too, more than "
            "a coincidence; split the data anew, or raise most_shared to leave them out of the test"
        )
    return Material(
        train=train.take(fresh),
        test=clean,
        synthetic=synthetic,
        validation=validation,
        train_duplicates=int((~fresh).sum()),
        test_duplicates=shared,
    )


def per_class(corpus: Corpus) -> dict[str, int]:
    """Count of each class, also of those that have none."""
    counts = corpus.counts.tolist()
    return dict(zip(corpus.classes, counts, strict=True))


def _alike(corpus: Corpus, train: Corpus, what: str) -> Corpus:
    """Labelled by the classes of `train`; of its size."""
    if corpus.image != train.image:
        raise DatasetError(f"{what} images are {corpus.image}, training images {train.image}")
    if min(train.image.height, train.image.width) < LEAST_SIDE:
        raise DatasetError(f"images must be at least {LEAST_SIDE} pixels high and wide")
    unknown = set(corpus.classes) - set(train.classes)
    if unknown:
        raise DatasetError(f"{what} images have classes that were not trained on: {unknown}")
    translation = np.array([train.classes.index(name) for name in corpus.classes], np.int64)
    return Corpus(corpus.images, translation[corpus.labels], train.classes)


def _digests(corpus: Corpus) -> Iterator[bytes]:
    return (
        blake2b(image, digest_size=16).digest() for image in np.ascontiguousarray(corpus.images)
    )


def _first_ones(corpus: Corpus) -> Mask:
    """Where an image was not there before."""
    seen: set[bytes] = set()
    fresh = np.ones(len(corpus), np.bool_)
    for place, digest in enumerate(_digests(corpus)):
        fresh[place] = digest not in seen
        seen.add(digest)
    return fresh


def _without(corpus: Corpus, seen: set[bytes], what: str) -> Corpus:
    unseen = np.array([digest not in seen for digest in _digests(corpus)])
    if not unseen.any():
        raise DatasetError(f"every {what} image is a training or synthetic image too")
    return corpus if unseen.all() else corpus.take(unseen)


def _folds(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The fold of each image, -1 where its class is too small for any; the same in every run."""
    folds = np.full(len(labels), -1, np.int64)
    for label in np.unique(labels):
        places = np.random.default_rng([0, int(label)]).permutation(np.flatnonzero(labels == label))
        if len(places) >= FOLDS:
            folds[places] = np.arange(len(places)) % FOLDS
    return folds
