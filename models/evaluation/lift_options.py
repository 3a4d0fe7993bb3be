"""What a lift may be asked for. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from models.evaluation.lift_result import Classical
from models.spec import Frozen

Ratio = Annotated[float, Field(gt=0, le=100)]


class LiftOptions(Frozen):
    """The choices of one measurement.

    seeds: classifiers of each arm; first_seed is that of the first, the others follow it.
    ratios: synthetic images as shares of the count of the real ones, drawn as the synthetic
        images are composed.
    balance: whether an arm fills every class up to the largest with synthetic images; None does
        when the largest has 1.5 times the smallest or more.
    alone: whether synthetic images are also tried without classical augmentation.
    only: whether a classifier learns from synthetic images only.
    classical: the augmentation of the reference arm; None for none, then "real" is the reference.
    steps: of each classifier, the same for every arm; None for 6 passes over the real images,
        at least 300 and at most 1,500.
    minutes: of computing. First arms are left out, the least telling first, until two seeds fit;
        then seeds. The reference and one other arm are always measured, with two seeds.
    most_shared: test images that are training or synthetic images too are dropped, up to this
        share of the test; more of them are no coincidence and are refused.
    """

    seeds: int = Field(5, ge=2, le=1000)
    first_seed: int = Field(0, ge=0, lt=1 << 31)
    ratios: tuple[Ratio, ...] = (0.25, 0.5, 1.0, 2.0)
    balance: bool | None = None
    alone: bool = True
    only: bool = True
    classical: Classical | None = Classical()
    steps: int | None = Field(None, ge=1)
    batch_size: int = Field(64, ge=8, le=4096)
    minutes: float | None = Field(None, gt=0)
    confidence: float = Field(0.95, gt=0, lt=1)
    most_shared: float = Field(0.01, ge=0, le=1)
