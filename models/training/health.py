"""Whether a run still learns: losses that explode, a discriminator that has won, few samples.

Imports no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from models.errors import TrainingError
from models.spec import Frozen
from models.training.snapshots import Judged

SMOOTHING: Final = 0.98
"""Of the means over recent steps: about the last fifty."""
EXPLODED: Final = 1000.0
"""Times the largest loss of the first steps, or times 1 where that was smaller."""
SATURATED: Final = 0.01
"""Times the discriminator's loss when it can tell nothing apart."""
FIRST_STEPS: Final = 50
SATURATED_FROM: Final = 500
FEW_DISTINCT: Final = 0.5
LOW_DIVERSITY: Final = 0.4
CHANCE: Final[Mapping[str, float]] = MappingProxyType({"logistic": 2 * math.log(2), "hinge": 2.0})
"""The discriminator's loss at logits of zero. A Wasserstein critic's has no such value."""


class Finding(Frozen):
    """Something that the maker of a model should know."""

    code: Literal["diverged", "collapsed", "saturated", "weak-judge", "no-judge"]
    step: int
    detail: str


class DivergenceError(TrainingError):
    """The losses or the images of a run are no longer numbers, or beyond all measure."""


class Watch:
    """Means of the losses over recent steps, and what was found out about the run."""

    def __init__(self, loss: str) -> None:
        self.chance = CHANCE.get(loss)
        self.count = 0
        self.first: dict[str, float] = {}
        self.recent: dict[str, float] = {}
        self.findings: list[Finding] = []

    def see(self, step: int, losses: Mapping[str, float]) -> None:
        """Take the losses of a step in. Raises DivergenceError."""
        for name, loss in losses.items():
            if not math.isfinite(loss):
                raise DivergenceError(f"the {name} loss is {loss} at step {step}")
            mean = self.recent.get(name, loss)
            self.recent[name] = SMOOTHING * mean + (1 - SMOOTHING) * loss
            if self.count < FIRST_STEPS:
                self.first[name] = max(self.first.get(name, 1.0), abs(loss))
            elif abs(self.recent[name]) > EXPLODED * self.first.get(name, 1.0):
                raise DivergenceError(
                    f"the {name} loss is {self.recent[name]:.3g} at step {step}, more than "
                    f"{EXPLODED:.0f} times that of the first steps"
                )
        self.count += 1

    def saturated(self, step: int) -> Finding | None:
        """The discriminator tells samples from images every time: its gradients vanish."""
        loss = self.recent.get("discriminator")
        if self.chance is None or loss is None or self.count < SATURATED_FROM:
            return None
        if loss > SATURATED * self.chance:
            return None
        return Finding(
            code="saturated",
            step=step,
            detail=f"The discriminator's loss has fallen to {loss:.2g}: it tells every sample from "
            "every image, and the generator learns next to nothing from it. Lower partner_rate, "
            "or augment the images.",
        )

    def keep(self, finding: Finding) -> bool:
        """Remember a finding; whether it is new. Only divergences can happen twice."""
        known = {old.code for old in self.findings}
        new = (
            finding not in self.findings
            if finding.code == "diverged"
            else (finding.code not in known)
        )
        if new:
            self.findings.append(finding)
        return new

    def forget(self, code: str) -> None:
        """That is over."""
        self.findings = [finding for finding in self.findings if finding.code != code]

    def dump(self) -> str:
        """All of it as JSON; floats come back to the bit."""
        findings = [finding.model_dump() for finding in self.findings]
        return json.dumps([self.count, self.first, self.recent, findings])

    def load(self, text: str) -> None:
        """What `dump` gave."""
        self.count, self.first, self.recent, findings = json.loads(text)
        self.findings = [Finding.model_validate(finding) for finding in findings]


def collapse(judged: Judged, step: int) -> Finding | None:
    """Samples that differ too little, within a class or at all."""
    if judged.distinct < FEW_DISTINCT:
        detail = f"Only {judged.distinct:.0%} of {judged.samples} samples are distinct"
    elif judged.diversity is not None and judged.diversity < LOW_DIVERSITY:
        detail = (
            f"Samples of a class lie {judged.diversity:.0%} as far from one another as real images"
        )
    else:
        return None
    return Finding(
        code="collapsed",
        step=step,
        detail=f"{detail}: the generator has collapsed to a few images. Start again with another "
        "seed, a lower generator_rate, or more varied images.",
    )
