"""`ATTRIBUTION.md` of a merged dataset: whose images these are, and what may be done with them."""

from __future__ import annotations

from collections.abc import Sequence

from app.jobs.merge import PlannedMerge
from app.jobs.plan import Plan

ATTRIBUTION = "ATTRIBUTION.md"
NOT_STATED = "not stated"


def attribution(plan: Plan, merge: PlannedMerge, licences: Sequence[str]) -> bytes:
    """The file, as UTF-8. licences: of the models, in the order of the plan."""
    models = "".join(
        f"* `{model.ref}`, licence: {licence}, content SHA-256 `{model.sha256}`\n"
        for model, licence in zip(plan.models, licences, strict=True)
    )
    return (
        "# Where these images come from\n\n"
        f"## {merge.images:,} real images\n\n"
        f"Dataset: {merge.name}, content SHA-256 `{merge.sha256}`\n\n"
        f"Licence: {merge.licence or NOT_STATED}\n\n"
        f"Attribution: {merge.attribution or NOT_STATED}\n\n"
        f"## {plan.samples:,} synthetic images\n\n"
        "Drawn by generative models; none is a photograph. Their files begin with `synthetic-`, "
        "and lie in the training split.\n\n"
        f"{models}"
    ).encode()
