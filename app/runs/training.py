"""From a request for a training to what is kept of it, checked against the dataset and the names
that are taken."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from app.datasets import real
from app.db.tables import Dataset
from app.errors import NotFoundError, UnknownDatasetError, ValidationError
from app.runs.registration import refuse_other_kind
from app.runs.request import Size, TrainingRequest, training_config
from models.corpus.preprocessing import Preprocessing
from models.corpus.survey import Survey
from models.spec import ImageShape
from models.training.config import TrainingConfig

FEWEST = 4
"""Images of the smallest batch."""


def training_order(
    session: Session, tenant_id: str, body: TrainingRequest, *, threads: int, device: str
) -> tuple[Dataset, dict[str, Any]]:
    """The dataset, and the request as a run keeps it.

    Raises UnknownDatasetError, UnknownOptionError, ValidationError, ConflictError for a name that
    belongs to another kind of model.
    """
    dataset = known_dataset(session, tenant_id, body.dataset)
    survey = real.survey_of(dataset)
    config = training_config(body, preprocessing_of(survey, body.size), threads, device)
    _refuse_too_small(survey, config)
    assert config.preprocessing is not None
    image = ImageShape(**config.preprocessing.model_dump(include=set(ImageShape.model_fields)))
    classes = survey.classes if config.conditional else ()
    refuse_other_kind(session, tenant_id, config.name, image, classes)
    return dataset, {
        "dataset": dataset.id,
        "config": config.model_dump(mode="json"),
        "accept_degenerate": body.accept_degenerate,
    }


def known_dataset(session: Session, tenant_id: str, ref: str) -> Dataset:
    """The dataset of this id or name. Raises UnknownDatasetError."""
    try:
        return real.find(session, tenant_id, ref)
    except NotFoundError as error:
        raise UnknownDatasetError(error.detail) from error


def preprocessing_of(survey: Survey, size: Size | None) -> Preprocessing:
    """How the images become those that are learnt from. Raises ValidationError where their size
    has to be stated."""
    stated = size.model_dump(exclude_none=True) if size is not None else {}
    natural: dict[str, Any] = {"channels": survey.channels}
    if survey.smallest == survey.largest:
        natural |= survey.largest.model_dump()
    missing = {"height", "width"} - natural.keys() - stated.keys()
    if missing:
        small, large = survey.smallest, survey.largest
        raise ValidationError(
            f"The images differ in size, from {small.height} x {small.width} to {large.height} x "
            f'{large.width}: state the one to learn, like "size": {{"height": 64, "width": 64}}.'
        )
    return Preprocessing.model_validate(natural | stated)


def _refuse_too_small(survey: Survey, config: TrainingConfig) -> None:
    counts: dict[str, int] = {split: sum(each) for split, each in survey.counts.items()}
    split: str = config.split or ("train" if "train" in counts else sorted(counts)[0])
    if split not in counts:
        raise ValidationError(f"The dataset has no split {split}; it has: {', '.join(counts)}.")
    count = counts[split]
    kept = config.validation if config.validation >= 1 else round(count * config.validation)
    if count - kept < FEWEST:
        raise ValidationError(
            f"{count} images, {kept:g} of them kept out to choose a snapshot by, are too few to "
            f"learn from. Bring {FEWEST} at least, and some hundreds of a class for a good model."
        )
