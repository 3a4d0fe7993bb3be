"""Samples that wait for a candidate of their class, filled by labelled candidates in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.verdicts import Verdicts

NOT_FINITE = "not-finite"
"""The reason of candidates that hold a NaN or an infinity."""
LOW_CONFIDENCE = "low-confidence"
"""Of those that the classifier is not sure enough of."""
OTHER_CLASS_FULL = "other-class-full"
"""Of those whose class needs no more, or was not asked for."""
FEWEST_OWED = 100
"""A shard that owes fewer samples of a model may draw as many candidates as one that owes these:
of few, luck decides too much."""


def most_candidates(owed: int, refusal_factor: float, classes: int) -> int:
    """Candidates that may be drawn for `owed` samples before a class counts as dry.

    Of a model that makes each of `classes` classes equally often, one class alone takes that many
    candidates a sample; the factor is what a class may be rarer than that.
    """
    return int(max(owed, FEWEST_OWED) * classes * refusal_factor)


class Openings:
    """The open positions of one model in a shard, by class.

    Each candidate goes, in order, to the earliest open position of the class that it was labelled
    as. So who fills what depends on the order of the candidates alone, not on their batches.

    positions, labels: int64 [n]; the label of each position is that of the classifier.
    """

    def __init__(
        self, positions: NDArray[np.int64], labels: NDArray[np.int64], min_confidence: float
    ) -> None:
        self._open = {label: positions[labels == label] for label in np.unique(labels).tolist()}
        self._min_confidence = min_confidence
        self._asked = np.array(list(self._open), np.int64)
        self.refused: Counter[str] = Counter()
        """Reason → candidates, up to the one that filled the last position."""
        self.labelled: Counter[int] = Counter()
        """Label → candidates that were labelled so, surely enough; the same."""
        self.considered = 0
        """Candidates of the last batch, up to the one that filled the last position."""

    @property
    def missing(self) -> dict[int, int]:
        """Label → positions that are open still."""
        return {label: len(left) for label, left in self._open.items() if len(left)}

    def could_fill(self, usable: NDArray[np.bool_], verdicts: Verdicts) -> NDArray[np.bool_]:
        """bool [n]: who is sure enough of a class that was asked for, whether it is full or not."""
        sure = usable & (verdicts.confidences >= self._min_confidence)
        return sure & np.isin(verdicts.labels, self._asked)

    def fill(self, finite: NDArray[np.bool_], verdicts: Verdicts) -> NDArray[np.int64]:
        """int64 [n]: the position that each candidate of a batch fills, -1 for a refused one."""
        filled = np.full(len(finite), -1, np.int64)
        sure = finite & (verdicts.confidences >= self._min_confidence)
        for label, left in self._open.items():
            takers = np.flatnonzero(sure & (verdicts.labels == label))[: len(left)]
            filled[takers] = left[: len(takers)]
            self._open[label] = left[len(takers) :]
        # Those after the last one that was needed are not refused, nobody asked for them.
        end = len(filled) if self.missing else int(np.flatnonzero(filled >= 0)[-1]) + 1
        self.considered = end
        self._count(finite[:end], sure[:end], filled[:end], verdicts.labels[:end])
        return filled

    def _count(
        self,
        finite: NDArray[np.bool_],
        sure: NDArray[np.bool_],
        filled: NDArray[np.int64],
        labels: NDArray[np.int64],
    ) -> None:
        reasons = {
            NOT_FINITE: ~finite,
            LOW_CONFIDENCE: finite & ~sure,
            OTHER_CLASS_FULL: sure & (filled < 0),
        }
        self.refused.update({name: int(found.sum()) for name, found in reasons.items()})
        self.labelled.update(labels[sure].tolist())

    def dry(self, classes: Sequence[str], model: str, judge: str) -> str:
        """A sentence on what could not be filled, and the figures behind it."""
        drawn = sum(self.labelled.values()) + sum(
            self.refused[name] for name in (NOT_FINITE, LOW_CONFIDENCE)
        )
        short = ", ".join(
            f"{classes[label]!a} ({count} missing, {self.labelled[label]} labelled so)"
            for label, count in self.missing.items()
        )
        refused = ", ".join(f"{count} {name}" for name, count in self.refused.items() if count)
        sure = f" with confidence {self._min_confidence} or more" if self._min_confidence else ""
        advice = "lower min_confidence, ask" if self._min_confidence else "Ask"
        return (
            f"{model} ran dry for {short}: of {drawn} candidates that {judge} labelled{sure} "
            f"(refused: {refused}). {advice[0].upper()}{advice[1:]} for less of this class, or "
            "take a model that makes it more often."
        )
