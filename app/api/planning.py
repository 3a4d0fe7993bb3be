"""From a request and the catalogue to a plan."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import pydantic
from sqlalchemy.orm import Session

from app.api.known_models import resolved
from app.api.services import Services
from app.datasets import real
from app.errors import ValidationError
from app.jobs.asked_copies import RealImages
from app.jobs.balance import Balance
from app.jobs.merge import PlannedMerge, refuse_other_size
from app.jobs.plan import Plan
from app.jobs.request import MAX_SEED, JobRequest, Limits, make_plan
from app.runs.training import known_dataset
from models.corpus.preprocessing import Preprocessing
from models.spec import ImageShape, ModelSpec


def plan_of(
    session: Session, services: Services, tenant: str, body: JobRequest
) -> tuple[Plan, list[ModelSpec]]:
    """The plan of a request, and the specs of its models. Raises a ValidationError of the tree."""
    specs = resolved(session, tenant, [source.model for source in body.sources()])
    merge = merge_planned(session, tenant, body.merge_with, specs[0].image)
    real_images = real_images_of(session, tenant, body, specs[0])
    asked = counted(session, tenant, body)
    return planned(asked, specs, services.limits, merge, real_images), specs


def counted(session: Session, tenant: str, body: JobRequest) -> JobRequest:
    """The request with the counts of the dataset that it balances, if it names one.

    Raises NotFoundError, and ValidationError for a split that the dataset does not have.
    """
    asked = body.balance
    if asked is None or asked.dataset is None:
        return body
    survey = real.survey_of(real.find(session, tenant, asked.dataset))
    if asked.split not in survey.counts:
        raise ValidationError(
            f"{asked.dataset[:100]!a} has no split {asked.split!r}; it has: "
            f'{", ".join(survey.counts)}. Name one of them as "split" of "balance".'
        )
    counts = dict(zip(survey.classes, survey.counts[asked.split], strict=True))
    balance = Balance(counts=counts, split=asked.split, to=asked.to)
    return body.model_copy(update={"balance": balance})


def merge_planned(
    session: Session, tenant: str, ref: str | None, drawn: ImageShape
) -> PlannedMerge | None:
    """The dataset that a request merges its samples with, pinned; None where it names none.

    drawn: size of the samples. Raises UnknownDatasetError, NotMergeableError.
    """
    if ref is None:
        return None
    dataset = known_dataset(session, tenant, ref)
    survey = real.survey_of(dataset)
    refuse_other_size(
        dataset.name,
        (survey.smallest.height, survey.smallest.width),
        (survey.largest.height, survey.largest.width),
        survey.channels,
        drawn,
    )
    return real.pinned(dataset)


def real_images_of(
    session: Session, tenant: str, body: JobRequest, spec: ModelSpec
) -> RealImages | None:
    """The dataset that samples must not be copies of, pinned; None where a request names none.

    Images of another size become like the samples as those did that the model has learnt from, if
    its record says how. Raises UnknownDatasetError.
    """
    if body.checks is None or body.checks.copies is None:
        return None
    pinned = real.pinned(known_dataset(session, tenant, body.checks.copies.dataset))
    kept = spec.training.get("preprocessing")
    ways = {n: kept[n] for n in ("fit", "resample") if n in kept} if isinstance(kept, dict) else {}
    try:
        how = Preprocessing.model_validate(spec.image.model_dump() | ways)
    except pydantic.ValidationError:  # whoever wrote the spec of a model may write there anything
        return RealImages(pinned)
    return RealImages(pinned, how.fit, how.resample)


def planned(
    body: JobRequest,
    specs: Sequence[ModelSpec],
    limits: Limits,
    merge: PlannedMerge | None = None,
    real_images: RealImages | None = None,
) -> Plan:
    """The plan of a request over the specs of its models; a seed is drawn where none was given.

    Raises a ValidationError of the tree.
    """
    seed = secrets.randbelow(MAX_SEED) if body.seed is None else body.seed
    return make_plan(body, specs, seed, limits, merge, real_images)
