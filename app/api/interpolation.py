"""`POST /v1/samples/interpolation`: the way from the sample of one seed to that of another."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Annotated, Self

import numpy as np
from anyio import from_thread
from fastapi import APIRouter
from fastapi.responses import Response
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, model_validator

from app.api.known_models import resolved
from app.api.models import PNG
from app.api.services import Provided, Services, Tenant
from app.api.strict import StrictRoute
from app.datasets.contact_sheet import LABEL_WIDTH_LIMIT, SIDE_LIMIT, contact_sheet
from app.errors import UnknownClassError, ValidationError
from app.jobs.interpolation import grid, strip
from app.jobs.request import MAX_SEED
from app.jobs.sampling import Sampling, sampling_of, shaping
from app.jobs.sources import ModelRef
from app.wire import Draw
from models.latents import normal
from models.spec import ModelSpec

router = APIRouter(prefix="/v1/samples", tags=["samples"], route_class=StrictRoute)

MOST_IMAGES = 1_024
MOST_BYTES = 64 << 20
SMALL_SIDE = 64
"""Images narrower than this are shown at twice their size."""


class InterpolationRequest(BaseModel):
    """A strip between seeds, for one class or a row for each; or a grid between four seeds."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    model: ModelRef
    seeds: list[Annotated[StrictInt, Field(ge=0, le=MAX_SEED)]] = Field(
        min_length=2, max_length=16, description="where the way leads along"
    )
    steps: Annotated[StrictInt, Field(ge=2, le=64)] = Field(
        default=8, description="images from one seed to the next, both among them"
    )
    rows: Annotated[StrictInt, Field(ge=2, le=64)] | None = Field(
        default=None, description="a grid of so many rows instead; `seeds` are its four corners"
    )
    classes: list[StrictStr] | None = Field(
        default=None, min_length=1, max_length=64, description="every class if left out"
    )
    sampling: Sampling | None = None

    @model_validator(mode="after")
    def _corners(self) -> Self:
        if self.rows is not None and len(self.seeds) != 4:
            raise ValueError(
                "a grid lies between four seeds: upper left, upper right, lower left, lower right"
            )
        return self


@router.post("/interpolation", response_class=Response, responses=PNG)
def interpolate(services: Provided, tenant: Tenant, body: InterpolationRequest) -> Response:
    """A PNG of the images between those of several seeds, along arcs between their latents.

    The latent of a seed is that of the first sample of a job with this seed. Truncation and
    temperature act on every latent of the way.
    """
    with services.transaction() as session:
        [spec] = resolved(session, tenant, [body.model])
    sampling = sampling_of(body.sampling, [spec])
    labels = _labels(body, spec)
    z = shaping(sampling)(_way(body, spec))
    columns = body.steps if body.rows else len(z)
    count = len(z) * len(labels)
    _check_size(spec, count, columns)
    repeated = np.tile(z, (len(labels), 1))
    conditions = np.repeat(np.array(labels, np.int64), len(z)) if spec.conditional else None
    psi = sampling.psi if sampling else None
    images = np.concatenate(list(_drawn(services, spec, repeated, conditions, psi)))
    names = [spec.class_names[label] for label in labels for _ in range(len(z) // columns)]
    shown = [
        (name if not row % (len(z) // columns) else "", list(images[at : at + columns]))
        for row, (name, at) in enumerate(zip(names, range(0, count, columns), strict=True))
    ]
    content = contact_sheet(shown, scale=_scale(spec))
    return Response(content, media_type="image/png", headers={"Cache-Control": "private, no-store"})


def _labels(body: InterpolationRequest, spec: ModelSpec) -> list[int]:
    if body.classes is None:
        if body.rows is not None and spec.conditional:
            raise ValidationError('A grid is of one class: name it in "classes".')
        return list(range(len(spec.class_names)))
    if body.rows is not None and len(body.classes) != 1:
        raise ValidationError('A grid is of one class: name one in "classes".')
    unknown = [name for name in body.classes if name not in spec.class_names]
    if unknown:
        raise UnknownClassError(
            f"{spec.ref} has no class {unknown[0][:80]!a}; it has: "
            f"{', '.join(spec.class_names[:50])}.",
            known_classes=list(spec.class_names[:1000]),
        )
    return [spec.class_names.index(name) for name in dict.fromkeys(body.classes)]


def _way(body: InterpolationRequest, spec: ModelSpec) -> NDArray[np.float32]:
    ends = [
        normal(seed=seed, model=spec.sha256, shard=0, first=0, count=1, size=spec.latent_size)[
            0
        ].astype(np.float64)
        for seed in body.seeds
    ]
    return grid(ends, body.rows, body.steps) if body.rows else strip(ends, body.steps)


def _drawn(
    services: Services,
    spec: ModelSpec,
    z: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    psi: float | None,
) -> Iterator[NDArray[np.uint8]]:
    size, precision = services.limits.engine_batch, services.limits.precision
    source = f"interpolation-{secrets.token_hex(4)}"
    for start in range(0, len(z), size):
        cut = slice(start, start + size)
        part = None if labels is None else labels[cut]
        draw = Draw(spec.sha256, z[cut], part, size, precision, source, psi)
        yield from_thread.run(services.workers.ask, draw).pixels


def _check_size(spec: ModelSpec, images: int, columns: int) -> None:
    wide = columns * (spec.image.width * _scale(spec) + 8) + 2 * LABEL_WIDTH_LIMIT
    high = (images // columns) * (spec.image.height * _scale(spec) + 8) + 100
    too_large = images > MOST_IMAGES or images * spec.image.bytes > MOST_BYTES
    if too_large or max(wide, high) > SIDE_LIMIT:
        raise ValidationError(
            f"{images} images of {spec.image.width} x {spec.image.height} pixels, {columns} in a "
            "row, are more than one picture holds. Ask for fewer steps, seeds or classes."
        )


def _scale(spec: ModelSpec) -> int:
    return 2 if spec.image.width < SMALL_SIDE else 1
