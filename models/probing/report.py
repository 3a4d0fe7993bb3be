"""What a probe found, as data. Imports no torch."""

from __future__ import annotations

from enum import StrEnum

from models.spec import Frozen


class Severity(StrEnum):
    """What follows from a finding."""

    REFUSED = "refused"
    """The spec is wrong or the weights are broken: the model is never registered."""
    DEGENERATE = "degenerate"
    """It runs, but is not worth serving: registered only when its owner insists."""


class Finding(Frozen):
    """One thing that is wrong, with a sentence for its owner."""

    code: str
    severity: Severity
    detail: str


class ProbeReport(Frozen):
    """Measured on freshly drawn images. Distances are means of absolute differences in levels,
    0…255.

    lowest, highest: of the generator's values; outside: share of values more than 5 % of the
    range beyond it.
    contrast: standard deviation of all pixels.
    smoothness: correlation of pixels with their right and lower neighbours; noise has 0.
    diversity: distance between images of one class, the mean over the classes.
    least_diversity: of the least diverse class; its name is least_diverse.
    label_effect: distance between images of two classes from one latent; none without labels.
    alone: largest difference of an image drawn alone from the same one in a batch.
    single_ms, batch_ms: one forward pass of one image, and of `batch`.
    """

    images: int
    lowest: float
    highest: float
    outside: float
    contrast: float
    smoothness: float
    diversity: float
    least_diversity: float
    least_diverse: str
    label_effect: float | None
    alone: int
    batch: int
    single_ms: float
    batch_ms: float
    resident_bytes: int
    device: str
    findings: tuple[Finding, ...] = ()

    @property
    def refused(self) -> tuple[Finding, ...]:
        """Why the model can't be registered at all."""
        return tuple(f for f in self.findings if f.severity is Severity.REFUSED)

    @property
    def degenerate(self) -> tuple[Finding, ...]:
        """Why it should not be served."""
        return tuple(f for f in self.findings if f.severity is Severity.DEGENERATE)
