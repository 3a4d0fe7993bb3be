"""`/v1/samples/redraw`: samples drawn again from a manifest, whatever job or server drew them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from sqlalchemy.orm import Session

from app import catalogue
from app.api.redrawing import MOST_SAMPLES, Asking, check_bytes
from app.api.services import Provided, Tenant
from app.api.strict import StrictRoute
from app.errors import UnknownModelError, ValidationError
from app.jobs.replay import Origin, Redrawing
from app.jobs.request import MAX_SEED
from app.jobs.sampling import Sampling, sampling_of
from app.jobs.transforms import MOST as MOST_TRANSFORMS
from app.jobs.transforms import MOST_VARIANTS, Transform, parameters_of, refuse_unfit
from app.settings import Precision
from models.spec import ModelSpec, Sha256

router = APIRouter(prefix="/v1", tags=["replay"], route_class=StrictRoute)


class RedrawnSample(BaseModel):
    """Where a sample comes from, as its row in a manifest says."""

    model_config = ConfigDict(extra="forbid")
    model_sha256: Sha256
    shard: Annotated[StrictInt, Field(ge=0, lt=2**62)]
    candidate: Annotated[StrictInt, Field(ge=0, lt=2**48)]
    label: Annotated[StrictInt, Field(ge=0, lt=2**31)] | None = None
    variant: Annotated[StrictInt, Field(ge=0, lt=MOST_VARIANTS)] = 0


class RedrawRequest(BaseModel):
    """Samples by what a manifest says of them, whatever job drew them."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    seed: Annotated[StrictInt, Field(ge=0, le=MAX_SEED)]
    sampling: Sampling | None = None
    engine_batch: Annotated[StrictInt, Field(ge=1, le=8192)]
    precision: Precision = "float32"
    transforms: list[Transform] = Field(
        default=[], max_length=MOST_TRANSFORMS, description="as `dataset.json` has them"
    )
    samples: list[RedrawnSample] = Field(min_length=1, max_length=MOST_SAMPLES)


class Redraw(BaseModel):
    """Of each sample, in order: SHA-256 of its pixels, null where they are not finite."""

    pixel_sha256: list[str | None]
    transforms: list[list[dict[str, Any]]] | None = Field(
        description="what each sample got of the transforms; null where there are none"
    )
    environment: dict[str, str]


@router.post("/samples/redraw")
def redraw_samples(services: Provided, tenant: Tenant, body: RedrawRequest) -> Redraw:
    """Draw samples of a manifest again, of any job on any server that had the same models."""
    with services.transaction() as session:
        wanted = dict.fromkeys(sample.model_sha256 for sample in body.samples)
        specs = {sha256: _known(session, tenant, sha256) for sha256 in wanted}
    check_bytes(list(specs.values()), len(body.samples))
    for spec in specs.values():
        refuse_unfit(body.transforms, spec.image)
    sampling = sampling_of(body.sampling, list(specs.values()))
    origins = [_origin(specs[sample.model_sha256], sample) for sample in body.samples]
    sizes = {sha256: spec.latent_size for sha256, spec in specs.items()}
    redrawing = Redrawing(body.seed, sampling, body.engine_batch, sizes)
    asking = Asking(services, redrawing, body.precision, body.transforms)
    hashes: list[str | None] = [None] * len(origins)
    for redrawn in redrawing.draw(origins, asking):
        hashes[redrawn.place] = redrawn.sha256.hex() if redrawn.sha256 else None
    own = None
    if body.transforms:
        own = [_parameters(body, specs[each.model], each) for each in origins]
    return Redraw(
        pixel_sha256=hashes,
        transforms=own,
        environment=asking.environment,
    )


def _parameters(body: RedrawRequest, spec: ModelSpec, origin: Origin) -> list[dict[str, Any]]:
    return [
        dict(own)
        for own in parameters_of(
            body.transforms,
            spec.image,
            seed=body.seed,
            model=origin.model,
            shard=origin.shard,
            candidate=origin.candidate,
            variant=origin.variant,
        )
    ]


def _known(session: Session, tenant: str, sha256: str) -> ModelSpec:
    model = catalogue.by_content(session, tenant, sha256)
    if model is None:
        raise UnknownModelError(
            f"This server has no model with the SHA-256 {sha256[:16]}…. Import it from the file "
            "that its server exports (synthloom models import)."
        )
    return catalogue.spec_of(model)


def _origin(spec: ModelSpec, sample: RedrawnSample) -> Origin:
    if not spec.conditional:
        return Origin(spec.sha256, sample.shard, sample.candidate, None, sample.variant)
    if sample.label is None or sample.label >= len(spec.classes):
        raise ValidationError(
            f"{spec.ref} takes a label from 0 to {len(spec.classes) - 1}, not {sample.label}."
        )
    return Origin(spec.sha256, sample.shard, sample.candidate, sample.label, sample.variant)
