"""`/v1/samples`: a small batch, answered at once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Annotated, Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
from anyio import from_thread, to_thread
from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from sqlalchemy.util import await_only, greenlet_spawn

from app.api.negotiation import preferred
from app.api.planning import planned
from app.api.remote_engine import RemoteEngine
from app.api.remote_transforms import RemoteChanger
from app.api.services import Provided, RecentTenant, Services
from app.api.strict import StrictRoute
from app.datasets.batch import (
    Batch,
    Images,
    as_grid,
    as_json,
    as_npz,
    as_parquet,
    as_zip,
)
from app.errors import JobTooLargeError, NotAcceptableError, ValidationError
from app.jobs.drawing import AtOnce, Drawing
from app.jobs.encoded import Change
from app.jobs.plan import Plan, Shard
from app.jobs.request import JobRequest
from app.jobs.shard import ShardRun
from app.wire import Draw, Drawn, Transforming
from models.spec import ModelSpec

router = APIRouter(prefix="/v1/samples", tags=["samples"], route_class=StrictRoute)

MOST_SAMPLES = 4_096
MOST_BYTES = 256 << 20
SMALL_SAMPLES = 256
SMALL_BYTES = 1 << 20

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class OfFiles:
    """A form that holds image files."""

    render: Callable[[Batch], bytes]


@dataclass(frozen=True)
class OfImages:
    """A form that holds pixels."""

    render: Callable[[Images], bytes]


FORMATS: dict[str, OfFiles | OfImages] = {
    "application/zip": OfFiles(as_zip),
    "application/x-npz": OfImages(as_npz),
    "application/vnd.apache.parquet": OfFiles(as_parquet),
    "image/png": OfImages(as_grid),
    "application/json": OfFiles(as_json),
}
"""Media type → how it is written; the first is the default."""

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: {} for media_type in FORMATS}}
}


@router.post("", response_class=Response, responses=ANSWERS)
async def create_samples(
    services: Provided,
    tenant: RecentTenant,
    body: JobRequest,
    request: Request,
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """At most 4,096 samples, without a job: the same request and seed as a job, the same images.

    `Accept` decides: `application/zip` (class folders, like the archive of a job),
    `application/x-npz` (uint8 images, int64 labels), `application/vnd.apache.parquet` (a row a
    sample, as the Hugging Face Hub keeps image datasets), `image/png` (one picture of all, a class
    a row) or `application/json` (base64 files). `encoding` is that of the files in zip, Parquet
    and JSON. `transforms` and `variants` are done as in a job; JSON says what each sample got.
    """
    media_type = negotiated(accept)
    prepared = await prepare(services, tenant, body)
    return await answered(services, prepared, media_type, request)


class Prepared(NamedTuple):
    """A request that is answered here, with all that follows from it."""

    specs: list[ModelSpec]
    plan: Plan
    shards: list[Shard]


async def prepare(services: Services, tenant: str, body: JobRequest) -> Prepared:
    """The plan of a request, checked. Raises a ValidationError of the tree."""
    _check_unlabelled(body)
    specs = await services.models.specs(tenant, [source.model for source in body.sources()])
    plan = planned(body, specs, services.limits)
    _check_one_shard(plan)
    _check_size(plan)
    return Prepared(specs, plan, [plan.shard(index) for index in range(plan.shards)])


async def answered(
    services: Services, prepared: Prepared, media_type: str, request: Request
) -> Response:
    """Draw the samples and answer them."""
    request_id = str(request.scope.get("request_id") or secrets.token_hex(8))
    answer = partial(_answer, services, prepared, media_type, request_id)
    workers = services.workers
    if _is_small(prepared.plan):
        here = _Workers(
            lambda draw: await_only(workers.ask(draw)),
            lambda asked: await_only(workers.transform(asked)),
        )
        return await greenlet_spawn(answer, here)
    loop = asyncio.get_running_loop()
    there = _Workers(
        lambda draw: from_thread.run(workers.ask, draw),
        # By the threads that encode, which anyio does not know.
        lambda asked: asyncio.run_coroutine_threadsafe(workers.transform(asked), loop).result(),
    )
    return await to_thread.run_sync(answer, there, limiter=services.sampling)


class _Workers(NamedTuple):
    """How workers are asked and waited for, from where the answer is worked out."""

    ask: Callable[[Draw], Drawn]
    transform: Callable[[Transforming], Drawn]


def _is_small(plan: Plan) -> bool:
    """Whether it is worked out on the event loop: a thread would cost more, and wait for its turn
    at the interpreter behind all the others."""
    return plan.samples <= SMALL_SAMPLES and plan.samples * plan.image.bytes <= SMALL_BYTES


def _answer(
    services: Services,
    prepared: Prepared,
    media_type: str,
    request_id: str,
    workers: _Workers,
) -> Response:
    specs, plan, shards = prepared
    engine = RemoteEngine(
        *workers,
        request_id,
        {spec.sha256: spec.latent_size for spec in specs},
        plan.precision,
        services.limits.engine_batch,
        plan.sampling.psi if plan.sampling else None,
    )
    match FORMATS[media_type]:
        case OfImages(render):
            content = render(_images(services, plan, shards, engine))
        case OfFiles(render):
            batch = Batch(plan, licences=[spec.licence for spec in specs])
            content = render(_filled(batch, services, shards, engine))
    headers = {
        "Synthloom-Seed": str(plan.seed),
        "Synthloom-Models": ", ".join(f"{model.ref}#{model.sha256}" for model in plan.models),
        "Cache-Control": "private, no-store",
    }
    return Response(content, media_type=media_type, headers=headers)


class _Here(Executor):
    """Runs at once what is submitted: of a single batch there is nothing to overlap with."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """A future that is done."""
        done: Future[T] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def _change(plan: Plan, shard: int, engine: RemoteEngine) -> Change | None:
    return RemoteChanger(engine.transform, plan, shard).change if plan.transforms else None


def _images(
    services: Services, plan: Plan, shards: Sequence[Shard], engine: RemoteEngine
) -> Images:
    shape = plan.image
    pixels = np.empty((plan.samples, shape.height, shape.width, shape.channels), np.uint8)
    labels = np.empty(plan.samples, np.int64)
    label_of = np.array([cell.label for cell in plan.cells])
    for shard in shards:
        labels[shard.first : shard.first + shard.size] = label_of[shard.cells]
        drawing = Drawing(
            plan=plan,
            shard=shard,
            engine=AtOnce(engine),
            refusal_factor=services.settings.refusal_factor,
        )
        change = _change(plan, shard.index, engine)
        for candidates, images in drawing.accepted():
            kept = np.flatnonzero(candidates.positions >= 0)
            drawn, found = candidates.positions[kept], images[kept]
            places = drawn
            if change is not None:
                numbers = candidates.first + kept
                found = change(candidates.model, numbers, shard.copies[drawn], found)
                places = shard.places(drawn)
            pixels[shard.first + places] = found.reshape(-1, *pixels.shape[1:])
    return Images(plan, pixels, labels)


def _filled(
    batch: Batch, services: Services, shards: Sequence[Shard], engine: RemoteEngine
) -> Batch:
    plan = batch.plan
    for shard in shards:
        run = ShardRun(
            plan=plan,
            shard=shard,
            engine=AtOnce(engine),
            encoders=_Here() if _is_small(plan) else services.encoders,
            report=lambda _: None,
            refusal_factor=services.settings.refusal_factor,
            change=_change(plan, shard.index, engine),
        )
        run.write(batch)
        batch.rows += run.rows
    return batch


@lru_cache(maxsize=64)
def negotiated(accept: str) -> str:
    """The media type of the answer. Raises NotAcceptableError."""
    media_type = preferred(accept, list(FORMATS))
    if media_type is None:
        raise NotAcceptableError(f"Samples come as {', '.join(FORMATS)}.")
    return media_type


def _check_unlabelled(body: JobRequest) -> None:
    if body.c2pa:
        raise ValidationError('Only the images of a job are signed: leave "c2pa" out here.')
    if body.webhook is not None:
        raise ValidationError('Only a job has an end to tell of: leave "webhook" out.')
    if body.report is not None or body.gate is not None:
        raise ValidationError(
            'Only a job has a report that a gate could look at: leave "report" and "gate" out '
            "here, or submit it with POST /v1/jobs."
        )
    if body.labelled_by is not None:
        raise ValidationError(
            "Only a job can have its samples labelled by a classifier, as nobody knows how many "
            "candidates that takes. Submit it with POST /v1/jobs."
        )
    if body.checks is not None and body.checks.label_agreement is not None:
        raise ValidationError(
            'Only a job can have "label_agreement" checked, as the classifiers are in its workers '
            "and nobody knows how many candidates it takes. Submit the same body with POST "
            "/v1/jobs; or leave the check out here: brightness and contrast are checked at once."
        )


def _check_one_shard(plan: Plan) -> None:
    if plan.shards > 1 and plan.checks and plan.checks.near_duplicates:
        raise ValidationError(
            f"Near duplicates are looked for at once in at most {plan.start(1)} samples. Ask for "
            "fewer, or submit a job with POST /v1/jobs."
        )


def _check_size(plan: Plan) -> None:
    if plan.samples > MOST_SAMPLES or plan.samples * plan.image.bytes > MOST_BYTES:
        raise JobTooLargeError(
            f"At most {MOST_SAMPLES} samples and {MOST_BYTES >> 20} MiB of pixels are answered at "
            "once. Submit a job with POST /v1/jobs for more.",
            limit=MOST_SAMPLES,
        )
