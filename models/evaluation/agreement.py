"""Are samples what their labels say, and which classes are they of?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.corpus.corpus import Corpus
from models.evaluation.balance import in_group
from models.evaluation.estimate import Figure
from models.evaluation.findings import Agreement
from models.evaluation.intervals import binomial
from models.evaluation.matching import Subject

Labels = npt.NDArray[np.int64]
Right = npt.NDArray[np.bool_]


def agreement(
    classifier: str, subject: Subject, guesses: Labels, test: Corpus, test_guesses: Labels
) -> Agreement:
    """Shares of verdicts that equal the labels, with the classifier's own on real images.

    guesses, test_guesses: int64, the classifier's verdicts on the samples and on `test`, which it
    has not seen.
    """
    samples = subject.corpus
    right, test_right = guesses == samples.labels, test_guesses == test.labels
    shares = np.bincount(guesses, minlength=len(samples.classes)) / len(guesses)
    known = subject.labelled
    return Agreement(
        classifier=classifier,
        overall=_share(classifier, right) if known else _absent(samples, UNLABELLED_SAMPLES),
        per_class=_per_class(classifier, samples, right) if known else {},
        groups=_groups(classifier, samples, right) if known else {},
        guessed=dict(zip(samples.classes, shares.tolist(), strict=True)),
        on_test=_share(classifier, test_right, real=True),
        on_test_per_class=_per_class(classifier, test, test_right, real=True),
    )


UNLABELLED_SAMPLES = "the samples carry no labels that could be true or false"
ONE_CLASS = "with one class, there is nothing for a classifier to tell apart"


def no_agreement(subject: Subject) -> Agreement:
    """Of images of one class."""
    absent = _absent(subject.corpus, ONE_CLASS)
    return Agreement(
        classifier="none",
        overall=absent,
        per_class={},
        guessed={},
        on_test=absent.model_copy(update={"synthetic": 0}),
        on_test_per_class={},
    )


def _absent(samples: Corpus, reason: str) -> Figure:
    return Figure(value=None, synthetic=len(samples), reason=reason)


def _share(classifier: str, right: Right, real: bool = False) -> Figure:
    return Figure(
        value=float(right.mean()),
        interval=binomial(int(right.sum()), len(right)),
        synthetic=0 if real else len(right),
        real=len(right) if real else 0,
        backbone=classifier,
    )


def _per_class(
    classifier: str, corpus: Corpus, right: Right, real: bool = False
) -> dict[str, Figure]:
    return {
        corpus.classes[label]: _share(classifier, right[corpus.labels == label], real)
        for label in np.flatnonzero(corpus.counts)
    }


def _groups(classifier: str, samples: Corpus, right: Right) -> dict[str, Figure]:
    members = {name: in_group(samples, name) for name in samples.groups}
    return {name: _share(classifier, right[rows]) for name, rows in members.items() if rows.any()}


def counted(subject: Subject, found: Agreement) -> npt.NDArray[np.int64]:
    """int64: samples of each class, by their labels, or by the classifier where they have none."""
    if subject.labelled or not found.guessed:
        return subject.corpus.counts
    shares = np.array([found.guessed[name] for name in subject.corpus.classes])
    counts: npt.NDArray[np.int64] = np.rint(shares * len(subject.corpus)).astype(np.int64)
    return counts
