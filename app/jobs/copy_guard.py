"""What a plan says of copies of training images, as its readers meet it. Pure."""

from __future__ import annotations

from app.jobs.plan import Plan
from app.quality.document import CopyGuard


def copy_guard(plan: Plan) -> CopyGuard | None:
    """Of which images no sample is a copy; None where that is not checked."""
    copies = plan.checks.copies if plan.checks else None
    if copies is None:
        return None
    found = CopyGuard(
        dataset=copies.dataset,
        sha256=copies.sha256,
        training=copies.training,
        holdout=copies.holdout,
        space=copies.space,
        percentile=copies.percentile,
    )
    limits = copies.limits
    if limits is None:
        return found
    names = plan.classes if copies.labels else ("",)
    distances = {
        name: round(limits.threshold * usual, 3)
        for name, usual in zip(names, limits.usual, strict=True)
        if not copies.labels or name in plan.samples_per_class
    }
    return found.model_copy(update={"threshold": limits.threshold, "distances": distances})
