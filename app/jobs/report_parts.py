"""The parts of a job's report that follow from its rows: what was asked, who drew, what to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue
from sqlalchemy.orm import Session

from app import catalogue
from app.db.tables import Job, Model
from app.jobs.asked_checks import asked_again
from app.jobs.copy_guard import copy_guard
from app.jobs.lifecycle import StoredArchive
from app.jobs.plan import Plan, PlannedModel
from app.jobs.report_cost import Work
from app.quality.curves import curves_of
from app.quality.document import BalanceRow, ClassRow, JobPart, ModelPart, RealPart, StoredFile
from app.quality.wording import ends_of, share
from models.evaluation.estimate import Figure
from models.evaluation.results import Evaluation

MANY_DUPLICATES = 0.1
"""Share of near duplicates from which the verdict speaks of them."""
LOW_AGREEMENT = 0.6
"""Label agreement below which the verdict is that labels are wrong."""


def job_part(
    job: Job,
    plan: Plan,
    delivered: Mapping[int, int],
    work: Work,
    archives: Sequence[StoredArchive],
    looked_at: int,
    request: Mapping[str, JsonValue],
) -> JobPart:
    """delivered: cell of the plan → samples that are in the dataset; request: the job's, again."""
    there = [0] * len(plan.classes)
    for cell, count in delivered.items():
        there[plan.cells[cell].label] += count
    return JobPart(
        id=job.id,
        seed=plan.seed,
        samples=sum(there),
        classes=tuple(
            ClassRow(name=name, asked=asked, delivered=there[plan.classes.index(name)])
            for name, asked in plan.samples_per_class.items()
        ),
        candidates=plan.drawn + job.refused,
        variants=plan.variants,
        refused={reason: count for reason, count in work.refused.items() if count},
        refused_by_class=work.refused_by_class,
        checks=asked_again(plan.checks),
        copies=copy_guard(plan),
        encoding=plan.encoding.format,
        labelled_by=plan.labelled_by.ref if plan.labelled_by else None,
        balance=_balance(plan, there),
        merged_with=_merged_with(plan),
        looked_at=looked_at,
        files=tuple(
            StoredFile(name=a.format, bytes=a.bytes, sha256=a.sha256, seconds=round(a.seconds, 3))
            for a in archives
        ),
        created=job.created_at,
        started=job.started_at,
        request=dict(request),
    )


def _balance(plan: Plan, there: Sequence[int]) -> tuple[BalanceRow, ...]:
    """there: by label, samples of each class."""
    real = plan.merge.real() if plan.merge else plan.real_samples_per_class
    if not real:
        return ()
    delivered = dict(zip(plan.classes, there, strict=True))
    return tuple(
        BalanceRow(name=n, before=real.get(n, 0), after=real.get(n, 0) + delivered.get(n, 0))
        for n in dict.fromkeys((*real, *plan.samples_per_class))
    )


def _merged_with(plan: Plan) -> RealPart | None:
    merge = plan.merge
    if merge is None:
        return None
    return RealPart(
        name=merge.name,
        sha256=merge.sha256,
        licence=merge.licence,
        attribution=merge.attribution,
        splits={split: sum(merge.real(split).values()) for split in merge.splits},
    )


def model_parts(session: Session, job: Job, plan: Plan) -> tuple[ModelPart, ...]:
    """The models of a job as they are registered; one that was deleted since, by its plan alone."""
    weights = sum(model.weight for model in plan.models)
    return tuple(
        _model_part(
            planned,
            planned.weight / weights,
            catalogue.by_content(session, job.tenant_id, planned.sha256),
        )
        for planned in plan.models
    )


def class_names(session: Session, job: Job, plan: Plan) -> dict[str, Sequence[str]]:
    """SHA-256 of each model of a job that is registered → the names of the classes it takes."""
    rows = [catalogue.by_content(session, job.tenant_id, model.sha256) for model in plan.models]
    return {row.sha256: catalogue.spec_of(row).classes for row in rows if row is not None}


def _model_part(planned: PlannedModel, weight: float, row: Model | None) -> ModelPart:
    known = {"name": planned.name, "version": planned.version, "sha256": planned.sha256}
    if row is None:
        return ModelPart(**known, weight=weight, family="?", architecture="?", licence="unknown")
    spec = catalogue.spec_of(row)
    return ModelPart(
        **known,
        weight=weight,
        family=spec.family,
        architecture=spec.architecture,
        licence=spec.licence,
        description=spec.description,
        figures=spec.figures,
        training={name: v for name, v in spec.training.items() if name != "curves"},
        warnings=tuple(catalogue.warnings_of(row)),
        curves=curves_of(spec.training),
    )


def warnings_of(models: Sequence[ModelPart], evaluation: Evaluation | None) -> tuple[str, ...]:
    """What a reader has to know before the figures."""
    own = [
        f"{model.name}@{model.version} is degenerate: {warning}"
        for model in models
        for warning in model.warnings
    ]
    return (*own, *(evaluation.warnings if evaluation else ()))


def verdict_of(
    job: JobPart,
    models: Sequence[ModelPart],
    figures: Mapping[str, Figure],
    evaluation: Evaluation | None,
) -> str:
    """One sentence, or two: what the samples are worth, as far as it was measured."""
    if evaluation is not None:
        return evaluation.verdict
    asked = sum(row.asked for row in job.classes)
    there = f"{job.samples:,} of {asked:,} samples are there"
    duplicates = figures["near_duplicates"].value
    if any(model.warnings for model in models):
        return f"{there}, but a model that drew them is not worth serving: see the warnings."
    if duplicates is not None and duplicates >= MANY_DUPLICATES:
        return (
            f"{there}, but {share(duplicates)} of those looked at hardly differ from another one: "
            "the model has collapsed, or nearly so."
        )
    return f"{there}. {_agreement(figures['label_agreement'])}"


def _agreement(figure: Figure) -> str:
    if figure.value is None:
        return "Whether they are what their labels say was not measured."
    ends = figure.interval
    interval = f" ({100 * ends.confidence:g} % interval: {ends_of(ends)})" if ends else ""
    found = f"{share(figure.value)} of {figure.synthetic:,}{interval}"
    if figure.value < LOW_AGREEMENT:
        return f"Their labels are often wrong: {figure.backbone} agrees with {found}."
    return f"{figure.backbone} agrees with the labels of {found}."
