"""What is wrong with the candidates of one batch, each looked at alone. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.checks.appearance import brightness, contrast, outside
from app.checks.planned import PlannedAgreement, PlannedChecks, PlannedCopies
from app.checks.reasons import (
    BRIGHTNESS,
    CONFIDENCE,
    CONTRAST,
    COPY,
    LABEL,
    NOT_FINITE,
    Codes,
    code_of,
)
from models.verdicts import Verdicts

Wrong = Callable[[NDArray[np.uint8]], NDArray[np.bool_]]
"""From images [n, H, W, C] to which of them are not let through."""
Label = Callable[[str, NDArray[np.uint8]], Verdicts]
"""From the SHA-256 of a classifier and images [n, H, W, C] to its verdict on each."""

Distances = Callable[[NDArray[np.uint8], NDArray[np.int64]], NDArray[np.float64]]
"""From images [n, H, W, C] and the group of training images of each to its distance to the nearest
of them."""


@dataclass(frozen=True)
class Checking:
    """The checks of a plan, ready to be used."""

    planned: PlannedChecks
    label: Label | None = None
    """Needed for label agreement."""
    distances: Distances | None = None
    """Needed where copies are refused."""

    def codes(
        self, images: NDArray[np.uint8], finite: NDArray[np.bool_], meant: NDArray[np.int64]
    ) -> Codes:
        """The first reason against each image, uint8 [n, H, W, C].

        meant: int64 [n], the label in the plan that each was drawn for; -1: for none.

        Later checks look only at what is left, so that the costly ones see few.
        """
        codes: Codes = np.where(finite, 0, code_of(NOT_FINITE)).astype(np.int8)
        for reason, wrong in self._appearance():
            left = np.flatnonzero(codes == 0)
            if not len(left):
                break
            codes[left[wrong(images[left])]] = code_of(reason)
        left = np.flatnonzero(codes == 0)
        if (agreement := self.planned.label_agreement) is not None and len(left):
            codes[left] = self._disagreement(agreement, images[left], meant[left])
        left = np.flatnonzero(codes == 0)
        if (copies := self.planned.copies) is not None and len(left):
            codes[left[self._copied(copies, images[left], meant[left])]] = code_of(COPY)
        return codes

    def _disagreement(
        self, agreement: PlannedAgreement, images: NDArray[np.uint8], meant: NDArray[np.int64]
    ) -> Codes:
        assert self.label is not None
        verdicts = self.label(agreement.sha256, images)
        right = verdicts.labels == np.array(agreement.labels)[meant]
        sure = verdicts.confidences >= agreement.min_confidence
        wrong = np.where(right, np.where(sure, 0, code_of(CONFIDENCE)), code_of(LABEL))
        return wrong.astype(np.int8)

    def _copied(
        self, copies: PlannedCopies, images: NDArray[np.uint8], meant: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        assert self.distances is not None
        assert copies.limits is not None
        groups = meant if copies.labels else np.zeros_like(meant)
        usual = np.array(copies.limits.usual)[groups]
        near: NDArray[np.bool_] = self.distances(images, groups) / usual <= copies.limits.threshold
        return near

    def _appearance(self) -> list[tuple[str, Wrong]]:
        found: list[tuple[str, Wrong]] = []
        if (light := self.planned.brightness) is not None:
            found.append((BRIGHTNESS, lambda images: outside(brightness(images), light)))
        if (spread := self.planned.contrast) is not None:
            found.append((CONTRAST, lambda images: outside(contrast(images), spread)))
        return found
