"""`/v1/jobs/{id}/replay`: samples of a job drawn again from what is known of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

import numpy as np
import sqlalchemy as sa
from fastapi import APIRouter
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator
from sqlalchemy.orm import Session

from app import catalogue
from app.api.jobs import find_job
from app.api.redrawing import MOST_SAMPLES, Asking, check_bytes
from app.api.services import Provided, Services, Tenant
from app.api.strict import StrictRoute
from app.datasets.decoding import decode
from app.datasets.manifest import Manifest, StoredRow
from app.datasets.members import DamagedError
from app.datasets.rows import manifest_of
from app.db.tables import Job, JobState, Shard
from app.errors import (
    JobTooLargeError,
    ModelGoneError,
    SamplesNotReadyError,
    ValidationError,
)
from app.jobs.plan import Plan, engine_batch
from app.jobs.replay import (
    ENVIRONMENT,
    TRANSFORMED,
    Change,
    Redrawing,
    Redrawn,
    changes,
    chosen,
    counted_share,
    origin_of,
)
from app.jobs.request import MAX_SEED
from models.spec import ModelSpec

router = APIRouter(prefix="/v1", tags=["replay"], route_class=StrictRoute)

MOST_NAMED = 100


class ReplayRequest(BaseModel):
    """Which samples to draw again: 100 if nothing is said."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    indices: list[Annotated[StrictInt, Field(ge=0, lt=2**62)]] | None = Field(
        default=None, min_length=1, max_length=MOST_SAMPLES, description="these"
    )
    samples: Annotated[StrictInt, Field(ge=1, le=MOST_SAMPLES)] | None = Field(
        default=None, description="that many, chosen by `seed`"
    )
    share: float | None = Field(
        default=None, gt=0, le=1, strict=True, description="that part of the job, chosen by `seed`"
    )
    seed: Annotated[StrictInt, Field(ge=0, le=MAX_SEED)] = 0

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(way is not None for way in (self.indices, self.samples, self.share)) > 1:
            raise ValueError('give one of "indices", "samples" and "share"')
        return self

    def of(self, samples: int) -> list[int]:
        """The indices of a job of so many samples. Raises a ValidationError of the tree."""
        if self.indices is not None:
            if max(self.indices) >= samples:
                raise ValidationError(f"The job has {samples} samples, 0 to {samples - 1}.")
            return sorted(set(self.indices))
        count = self.samples or 100
        if self.share is not None:
            count = counted_share(samples, self.share)
        if count > MOST_SAMPLES:
            raise JobTooLargeError(
                f"{self.share:.3%} of {samples} samples are {count}; at most {MOST_SAMPLES} are "
                'drawn again at once. Ask for a smaller share, or for "samples".',
                limit=MOST_SAMPLES,
            )
        return chosen(samples, count, self.seed)


class Different(BaseModel):
    """A sample that is not what its row says."""

    index: int
    class_name: str = Field(serialization_alias="class")
    model: str
    shard: int
    candidate: int
    pixels_equal: bool
    file_equal: bool = Field(description="of the stored file, to its SHA-256 in the manifest")
    pixel_sha256: str = Field(description="as the manifest has it")
    drawn_sha256: str | None = Field(description="of what was drawn now; null: not finite")
    largest_difference: int | None = Field(
        description="between a pixel of the stored file and the one drawn now, of 255; null where "
        "the file is lossy or can't be read"
    )


class Replay(BaseModel):
    """What came of drawing samples of a job again."""

    job: str
    verdict: str
    samples: int
    equal: int
    different: list[Different] = Field(description=f"the first {MOST_NAMED}")
    environment_then: list[dict[str, str]] = Field(description="of the shards; engine batch too")
    environment_now: dict[str, str]
    environment_changes: list[str]


@router.post("/jobs/{job_id}/replay")
def replay_job(
    services: Provided, tenant: Tenant, job_id: str, body: ReplayRequest | None = None
) -> Replay:
    """Draw samples of a job again, from seed, model and candidate alone, and compare the pixels.

    A succeeded job only, at most 1,000 samples. They are drawn in batches of the size and with the
    precision of the job, and go through its transforms. What differs between the environments is
    said in any case.
    """
    with services.transaction() as session:
        job = find_job(session, tenant, job_id)
        if job.state != JobState.SUCCEEDED:
            raise SamplesNotReadyError(
                f"The job is {job.state}; only the samples of one that has succeeded can be drawn "
                "again."
            )
        manifest = manifest_of(job, services.storage)
        specs = _specs_of(session, tenant, manifest.plan)
        check_bytes(specs, len(indices := (body or ReplayRequest()).of(job.samples)))
        found = (manifest.sample(session, index) for index in indices)
        rows = [row for row in found if row is not None]
        then = _recorded(session, job, rows)
    plan = manifest.plan
    origins = [
        origin_of(plan, row.row.cell, row.shard, row.row.candidate, manifest.variant(row.row))
        for row in rows
    ]
    sizes = {spec.sha256: spec.latent_size for spec in specs}
    redrawing = Redrawing(plan.seed, plan.sampling, plan.engine_batch, sizes)
    asking = Asking(services, redrawing, plan.precision, plan.transforms)
    compared = [
        _compared(services, manifest, rows[redrawn.place], redrawn)
        for redrawn in redrawing.draw(origins, asking)
    ]
    different = sorted(filter(None, compared), key=lambda each: each.index)
    now = asking.environment | {
        "engine_batch": str(engine_batch(plan.drawn, services.limits.engine_batch)),
        "precision": services.limits.precision,
    }
    changed = changes(then, now, TRANSFORMED if plan.transforms else ENVIRONMENT)
    return Replay(
        job=job.id,
        verdict=verdict(len(rows), len(different), changed),
        samples=len(rows),
        equal=len(rows) - len(different),
        different=different[:MOST_NAMED],
        environment_then=then,
        environment_now=now,
        environment_changes=[str(change) for change in changed],
    )


def verdict(samples: int, different: int, changed: Sequence[Change]) -> str:
    """What came of it, in a sentence or two."""
    other = f" The environment is another: {'; '.join(map(str, changed))}." if changed else ""
    if not different:
        return f"All {samples} samples drawn again are what the manifest lists.{other}"
    why = (
        " Pixels are promised to be equal in the same one only."
        if changed
        else " The environment is the same: a row, a stored file or the model is not what it was."
    )
    return f"{different} of {samples} samples drawn again differ from the manifest.{other}{why}"


def _specs_of(session: Session, tenant: str, plan: Plan) -> list[ModelSpec]:
    models = [(m, catalogue.by_content(session, tenant, m.sha256)) for m in plan.models]
    gone = [planned.ref for planned, model in models if model is None]
    if gone:
        raise ModelGoneError(
            f"{', '.join(gone)} was deleted, so its samples can't be drawn again. Import it again "
            "from an exported file: the same content has the same SHA-256.",
            models=gone,
        )
    return [catalogue.spec_of(model) for _, model in models if model is not None]


def _recorded(session: Session, job: Job, rows: Sequence[StoredRow]) -> list[dict[str, str]]:
    """The environments that drew these samples, each once."""
    query = sa.select(Shard.environment).where(
        Shard.job_number == job.number, Shard.index.in_({row.shard for row in rows})
    )
    plan = Plan.from_json(job.plan)
    own = {"engine_batch": str(plan.engine_batch), "precision": plan.precision}
    found: list[dict[str, str]] = []
    for environment in session.execute(query.order_by(Shard.index)).scalars():
        made = _texts(environment or {}) | own
        if made not in found:
            found.append(made)
    return found


def _texts(environment: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in environment.items()}


def _compared(
    services: Services, manifest: Manifest, stored: StoredRow, redrawn: Redrawn
) -> Different | None:
    """None where all is equal."""
    row, plan = stored.row, manifest.plan
    payload = services.storage.read(stored.object_key, row.offset, row.length)
    file_equal = hashlib.sha256(payload).digest() == row.file_sha256
    pixels_equal = redrawn.sha256 == row.pixel_sha256
    if file_equal and pixels_equal:
        return None
    cell = plan.cells[row.cell]
    return Different(
        index=row.sample,
        class_name=plan.classes[cell.label],
        model=plan.models[cell.model].ref,
        shard=stored.shard,
        candidate=row.candidate,
        pixels_equal=pixels_equal,
        file_equal=file_equal,
        pixel_sha256=row.pixel_sha256.hex(),
        drawn_sha256=redrawn.sha256.hex() if redrawn.sha256 else None,
        largest_difference=_largest_difference(plan, payload, redrawn.pixels),
    )


def _largest_difference(plan: Plan, payload: bytes, drawn: NDArray[np.uint8] | None) -> int | None:
    if drawn is None or not plan.encoding.lossless:
        return None
    try:
        there = decode(payload, plan.encoding, plan.image)
    except DamagedError:
        return None
    return int(np.abs(there.astype(np.int16) - drawn.astype(np.int16)).max())
