"""What a job would cost, from what jobs like it have cost here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.orm import Session

from app import catalogue
from app.db.tables import Archive, Job, JobState
from app.jobs.encoding import encoding_of
from app.jobs.merge import TRAIN
from app.jobs.pilot import Labelling
from app.jobs.plan import Plan

_JOBS_LOOKED_AT = 50
_MEMBER_OVERHEAD_BYTES = 30 + 46 + 2 * 32 + 90
"""Zip headers, the name twice, and the line of the checksum file."""


class Estimate(BaseModel):
    """A plan in numbers. `seconds` is null as long as nothing like it has run here."""

    samples: int
    samples_per_class: dict[str, int]
    drawn: int
    """Images that the models draw: fewer than samples where each has several variants."""
    models: list[str]
    shards: int
    archive_bytes: int
    seconds: float | None
    basis: str
    seed: int | None
    labelling: Labelling | None = None
    """Candidates that it takes, where a classifier labels them."""
    merged: dict[str, dict[str, int]] | None = None
    """Split → class → images of the archives, where real images are merged in."""
    warnings: list[str] = []
    """Why what models of it make is not worth serving."""


def estimate(
    session: Session,
    tenant: str,
    plan: Plan,
    *,
    seed: int | None,
    labelling: Labelling | None = None,
) -> Estimate:
    """The estimate of a plan: bytes and seconds from the largest finished job like it.

    Like it is a job of the same models, sampling, encoding, checks and transforms with as many
    variants, labelled the same way.
    """
    like = _largest_like(session, tenant, plan)
    if like is None:
        archive_bytes = plan.samples * (plan.image.bytes + _MEMBER_OVERHEAD_BYTES)
        seconds, basis = None, "raw pixels; no job like it has finished here yet"
    else:
        job, size = like
        share = plan.samples / job.samples
        assert job.finished_at is not None
        assert job.started_at is not None
        took = (job.finished_at - job.started_at).total_seconds()
        archive_bytes, seconds = round(size * share), round(took * share, 3)
        basis = f"measured: {job.id} made {job.samples} samples in {took:.1f} s"
    real_images = plan.merge.images if plan.merge else 0
    archive_bytes += real_images * (plan.image.bytes + _MEMBER_OVERHEAD_BYTES)
    return Estimate(
        samples=plan.samples,
        samples_per_class=plan.samples_per_class,
        drawn=plan.drawn,
        models=[model.ref for model in plan.models],
        shards=plan.shards,
        archive_bytes=archive_bytes,
        seconds=seconds,
        basis=basis,
        seed=seed,
        labelling=labelling,
        merged=_merged(plan),
        warnings=catalogue.warnings_of_contents(
            session, tenant, [model.sha256 for model in plan.models]
        ),
    )


def _merged(plan: Plan) -> dict[str, dict[str, int]] | None:
    """With the samples, which are in the training split."""
    if plan.merge is None:
        return None
    found = {str(split): dict(plan.merge.real(split)) for split in plan.merge.splits}
    for name, count in plan.samples_per_class.items():
        found[TRAIN][name] = found[TRAIN].get(name, 0) + count
    return found


def _as_asked(checks: Mapping[str, Any] | None) -> Any:
    """The checks of a plan, without what its first worker found out."""
    copies = (checks or {}).get("copies")
    if copies is None:
        return checks
    return {**(checks or {}), "copies": {**copies, "labels": [*copies["labels"]], "limits": None}}


def _largest_like(session: Session, tenant: str, plan: Plan) -> tuple[Job, int] | None:
    finished = session.execute(
        sa.select(Job, Archive.bytes)
        .join(Archive, Archive.job_number == Job.number)
        .where(Job.tenant_id == tenant, Job.state == JobState.SUCCEEDED.value)
        .order_by(Job.number.desc())
        .limit(_JOBS_LOOKED_AT)
    ).all()
    wanted = {model.sha256 for model in plan.models}
    judge = asdict(plan.labelled_by) if plan.labelled_by else None
    sampling = plan.sampling.model_dump() if plan.sampling else None
    checks = _as_asked(plan.checks.to_json() if plan.checks else None)
    transforms = [each.model_dump(mode="json") for each in plan.transforms]
    like = [
        (job, size)
        for job, size in finished
        if {model["sha256"] for model in job.plan["models"]} == wanted
        and encoding_of(job.plan.get("encoding")) == plan.encoding
        and job.plan.get("labelled_by") == judge
        and job.plan.get("merge") is None
        and job.plan.get("sampling") == sampling
        and _as_asked(job.plan.get("checks")) == checks
        and job.plan.get("transforms", []) == transforms
        and job.plan.get("variants", 1) == plan.variants
    ]
    return max(like, key=lambda pair: pair[0].samples, default=None)
