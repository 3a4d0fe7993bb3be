"""The parts of one evaluation in their order, each measured once for the same question."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import JsonValue

from models.corpus.corpus import Corpus
from models.evaluation.comparison import (
    compare,
    compare_copies,
    compare_labels,
    compare_looks,
)  # fmt: skip
from models.evaluation.findings import (  # fmt: skip
    Agreement,
    Appearance,
    Backbone,
    Copies,
    Cost,
    Fidelity,
    Material,
)
from models.evaluation.kept import Kept, Part
from models.evaluation.lift_options import LiftOptions
from models.evaluation.lift_result import LiftResult
from models.evaluation.options import EvaluationOptions, Progress
from models.evaluation.sides import Sides
from models.evaluation.workbench import Workbench, weights_digest

STARTS: Final = {
    "classifier": 0.0,
    "fidelity": 0.3,
    "copies": 0.6,
    "labels": 0.8,
    "looks": 0.9,
    "pictures": 0.95,
}
"""Where in an evaluation without lift a part begins, about."""
LIFT_SHARE: Final = 0.7
"""Of the time of an evaluation with lift, about; before the pictures."""
LEAST_LIFT_MINUTES: Final = 0.2

WORDS: Final = {
    "classifier": "a classifier learns from the real training images",
    "fidelity": "samples are compared with real images",
    "copies": "samples are compared with the training images",
    "labels": "the classifier judges the samples",
    "looks": "pixels are compared",
    "pictures": "pictures are drawn",
}


class Measuring:
    """One run. Parts are kept in `folder`; `progress` hears which one begins."""

    def __init__(
        self, sides: Sides, options: EvaluationOptions, folder: Path, progress: Progress
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.sides = sides
        self.options = options
        self.folder = folder
        self.bench = Workbench(sides, options, folder / "classifiers")
        self._progress = progress
        self._began = time.monotonic()
        self._kept = Kept(folder / "parts", self._facts())

    def _facts(self) -> dict[str, JsonValue]:
        """What decides every part: the images, the classifier and the space."""
        deciding = {"backbone", "sample_limit", "neighbours", "most_classifier_images", "seed"}
        return {
            "samples": self.sides.subject.corpus.sha256,
            "labelled": self.sides.subject.labelled,
            "train": self.sides.train.sha256,
            "reference": self.sides.reference.sha256,
            "unseen": self.sides.unseen,
            "weights": weights_digest(self.options),
            **self.options.model_dump(mode="json", include=deciding),
        }

    def announce(self, name: str) -> None:
        """Say which part begins."""
        share = 1 - LIFT_SHARE if self.options.lift else 1.0
        start = STARTS[name] if name == "pictures" else STARTS[name] * share
        self._progress(WORDS[name], start)

    def _part(self, name: str, kind: type[Part], measure: Callable[[], Part]) -> Part:
        self.announce(name)
        return self._kept.part(name, kind, measure)

    def classifier(self) -> Backbone:
        """The feature extractor, trained if it has to be."""
        return self._part("classifier", Backbone, lambda: self.bench.extractor.backbone)

    def fidelity(self) -> Fidelity:
        """Figures of fidelity and diversity."""
        return self._part("fidelity", Fidelity, lambda: compare(self.bench))

    def copies(self) -> Copies:
        """The copy check."""
        return self._part("copies", Copies, lambda: compare_copies(self.bench))

    def labels(self) -> Agreement:
        """Label agreement."""
        return self._part("labels", Agreement, lambda: compare_labels(self.bench))

    def looks(self) -> Appearance:
        """Properties of pixels."""
        return self._part("looks", Appearance, lambda: compare_looks(self.bench))

    def lift(self) -> tuple[LiftResult | None, str | None]:
        """The lift, or why there is none."""
        reason = self._no_lift()
        if reason is not None:
            return None, reason
        options = self.options.lift_options.model_copy(update={"minutes": self._minutes_left()})
        facts = {"lift": self.options.lift_options.model_dump(mode="json"),
                 "minutes": self.options.minutes}  # fmt: skip
        found = self._kept.part("lift", LiftResult, lambda: self._measure_lift(options), facts)
        return found, None

    def _no_lift(self) -> str | None:
        if not self.options.lift:
            return "it was not asked for"
        if not self.sides.unseen:
            return "it needs real test images that nothing has learnt from"
        if not self.sides.subject.labelled:
            return "it needs samples with labels"
        if len(self.sides.train.classes) < 2:
            return "with one class, there is nothing for a classifier to tell apart"
        left = self._minutes_left()
        if left is not None and left < LEAST_LIFT_MINUTES:
            return f"the budget of {self.options.minutes:g} minutes was used up before"
        return None

    def _minutes_left(self) -> float | None:
        """Of the budget; at most what the lift's own options give it."""
        limits = [self.options.lift_options.minutes]
        if self.options.minutes is not None:
            limits.append(self.options.minutes - (time.monotonic() - self._began) / 60)
        given = [minutes for minutes in limits if minutes is not None]
        return min(given) if given else None

    def _measure_lift(self, options: LiftOptions) -> LiftResult:
        from models.evaluation.lift import measure_lift

        start = 1 - LIFT_SHARE
        share = STARTS["pictures"] - start
        return measure_lift(
            self.sides.train, self.sides.reference, self.sides.subject.corpus, options,
            self.folder / "lift",
            lambda words, done: self._progress(words, start + share * done),
        )  # fmt: skip

    def cost(self) -> Cost:
        """Of all parts, and of this call."""
        seconds = self._kept.seconds
        return Cost(
            seconds=seconds,
            total_seconds=sum(seconds.values()),
            budget_minutes=self.options.minutes,
        )


def material(
    corpus: Corpus,
    name: str,
    kind: Literal["model", "dataset"] = "dataset",
    facts: Mapping[str, JsonValue] | None = None,
) -> Material:
    """What the report says of a set of images."""
    counts = dict(zip(corpus.classes, corpus.counts.tolist(), strict=True))
    return Material(
        name=name, kind=kind, sha256=corpus.sha256, image=corpus.image, count=len(corpus),
        per_class=counts, facts=dict(facts or {}),
    )  # fmt: skip
