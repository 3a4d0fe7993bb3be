"""The parts of an evaluation, each made of a workbench."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.corpus.corpus import Corpus
from models.evaluation.agreement import agreement, no_agreement
from models.evaluation.appearance import appearance, diversity_ratios
from models.evaluation.copies import Side, Space, copies
from models.evaluation.estimate import Figure, FigureName
from models.evaluation.features import Features
from models.evaluation.fidelity import Ruler, fidelity
from models.evaluation.findings import Agreement, Appearance, Copies, Fidelity
from models.evaluation.matching import Match, match
from models.evaluation.workbench import Workbench

CLASSES_COMPARED = 100
Rows = dict[FigureName, Figure]


def compare(bench: Workbench) -> Fidelity:
    """Figures of the samples and of held-out real images against the same reference."""
    labels, held = bench.labels, bench.held_out.corpus.labels
    shown = _largest(labels)
    return Fidelity(
        backbone=bench.extractor.backbone,
        overall=_figures(bench, bench.sample_features, _pairing(bench)),
        per_class=_by_class(bench, bench.sample_features, labels, shown),
        held_out=_figures(bench, bench.held_out_features, _held_out_pairing(bench)),
        held_out_per_class=_by_class(bench, bench.held_out_features, held, shown),
    )


def _pairing(bench: Workbench) -> Match:
    """Which samples are compared with which reference images."""
    options, subject = bench.options, bench.sides.subject
    return match(
        bench.reference.corpus.labels, bench.samples.corpus.labels,
        options.sample_limit, options.seed, by_class=subject.labelled,
    )  # fmt: skip


def _held_out_pairing(bench: Workbench) -> Match:
    """The same of held-out images: of the samples' classes, and no more than of these."""
    pairing, limit = _pairing(bench), bench.options.sample_limit
    reference, held = bench.reference.corpus.labels, bench.held_out.corpus.labels
    if bench.sides.subject.labelled:
        wanted = np.bincount(reference[pairing.real], minlength=len(bench.sides.train.classes))
        held = _capped(held, wanted)
    else:
        limit = min(limit, len(pairing.real))
    return match(reference, held, limit, bench.options.seed, bench.sides.subject.labelled)


def _capped(labels: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The labels, -1 from where a class has as many as wanted; no image has the label -1."""
    kept = labels.copy()
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        kept[places[wanted[label] :]] = -1
    return kept


def _figures(bench: Workbench, features: Features, pairing: Match) -> Rows:
    options = bench.options
    ruler = Ruler(bench.extractor.backbone.name, options.neighbours, options.seed)
    return fidelity(bench.reference_features[pairing.real], features[pairing.synthetic], ruler)


def _by_class(
    bench: Workbench, features: Features, labels: npt.NDArray[np.int64], shown: list[int]
) -> dict[str, Rows]:
    reference, options = bench.reference.corpus, bench.options
    rows = {}
    for label in shown:
        pairing = match(
            np.where(reference.labels == label, 0, -1), np.where(labels == label, 0, -2),
            options.sample_limit, options.seed,
        )  # fmt: skip
        rows[reference.classes[label]] = _figures(bench, features, pairing)
    return rows


def _largest(labels: npt.NDArray[np.int64]) -> list[int]:
    """The classes with the most samples, in their order."""
    found, counts = np.unique(labels, return_counts=True)
    return sorted(found[np.argsort(-counts, kind="stable")[:CLASSES_COMPARED]].tolist())


def compare_copies(bench: Workbench) -> Copies:
    """The copy check, in the space that finds copies best."""
    sides, images = bench.sides, bench.pixels
    samples, holdout = bench.samples, bench.reference

    def side(corpus: Corpus) -> Side:
        return Side(corpus, images.levels(corpus.images))

    train = side(sides.train)
    found = copies(
        side(samples.corpus),
        train,
        train if sides.unseen else side(sides.learnt),
        side(holdout.corpus),
        Space(images.backbone.name, "test images" if sides.unseen else "spared training images",
              sides.unseen),
        by_class=sides.subject.labelled,
    )  # fmt: skip
    pairs = (
        pair.model_copy(update={"sample": int(samples.places[pair.sample])}) for pair in found.worst
    )
    return found.model_copy(update={"worst": tuple(pairs)})


def compare_labels(bench: Workbench) -> Agreement:
    """Verdicts of the classifier on every sample, and on real images that it has not seen."""
    subject, reference, judge = bench.sides.subject, bench.sides.reference, bench.judge
    if judge is None:
        return no_agreement(subject)
    return agreement(
        judge.backbone.name,
        subject,
        judge.guesses(subject.corpus.images),
        reference,
        judge.guesses(reference.images),
    )


def compare_looks(bench: Workbench) -> Appearance:
    """Plain properties of pixels, and the spread of features."""
    pairing, labels, reference = _pairing(bench), bench.labels, bench.reference.corpus
    ratios = diversity_ratios(
        bench.reference_features, reference.labels, bench.sample_features, labels, reference.classes
    )
    return appearance(
        reference.images[pairing.real], bench.samples.corpus.images[pairing.synthetic], ratios
    )
