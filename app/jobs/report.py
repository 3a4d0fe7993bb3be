"""The report of a job: what was asked and delivered, what the samples are like, what it took.

Built before the job ends, from its rows and files, and stored as two objects: JSON and HTML.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from app.datasets.manifest import Manifest, Transaction
from app.db.session import now
from app.db.tables import Job
from app.errors import SynthloomError
from app.jobs.again import again_of, request_of
from app.jobs.asked_report import AskedReport
from app.jobs.lifecycle import StoredArchive, StoredReport
from app.jobs.looked_at import LookedAt, look_at
from app.jobs.plan import Plan
from app.jobs.report_cost import cost_of, work_of
from app.jobs.report_parts import (
    class_names,
    job_part,
    model_parts,
    verdict_of,
    warnings_of,
)
from app.quality import samples
from app.quality.document import Report
from app.quality.gate import judge, read_condition
from app.quality.known_figures import KNOWN
from app.quality.page import Pictures, render
from app.quality.sheets import IMAGES_A_CLASS, sheets
from app.storage import LocalStorage
from models.classifier_spec import ClassifierSpec
from models.evaluation.estimate import Figure
from models.evaluation.results import Evaluation
from models.verdicts import Verdicts
from models.zoo.catalogue import shipped_classifiers


@dataclass(frozen=True)
class Evaluated:
    """What holding the samples against real images gave.

    reason: why there is no evaluation. pictures: PNG bytes by the names of `evaluation.pictures`.
    """

    evaluation: Evaluation | None = None
    reason: str | None = None
    pictures: Mapping[str, bytes] = field(default_factory=dict)


Label = Callable[[str, NDArray[np.uint8]], Verdicts]
"""From the SHA-256 of a classifier and images [n, H, W, C] to its verdict on each."""
KeepGoing = Callable[[], None]
"""Called now and then; raises to stop."""
Evaluate = Callable[["Finished", AskedReport, KeepGoing], Evaluated]
"""Holds the samples of a job, which are stored, against a real dataset."""


@dataclass(frozen=True)
class Judges:
    """Who can say something of samples: classifiers, and an evaluation."""

    label: Label
    evaluate: Evaluate


@dataclass(frozen=True)
class Finished:
    """A job whose shards are stored and whose archives are built, but not published yet.

    delivered: cell of the plan → samples that are in the archive.
    """

    job: Job
    manifest: Manifest
    archives: Sequence[StoredArchive]
    delivered: Mapping[int, int]

    @property
    def plan(self) -> Plan:
        """Of the job."""
        return self.manifest.plan


def no_evaluation(_: object, __: Finished, ___: AskedReport, ____: KeepGoing) -> Evaluated:
    """Of a worker that can't hold samples against real images."""
    return Evaluated(reason="this worker can't do that")


def make_report(
    transaction: Transaction,
    storage: LocalStorage,
    finished: Finished,
    judges: Judges,
    keep_going: KeepGoing,
) -> StoredReport:
    """Measure, render and store; whoever publishes it decides by its gate.

    Raises what `keep_going` raises, and StorageFullError.
    """
    began = time.perf_counter()
    looked_at = look_at(transaction, storage, finished.manifest)
    figures = _figures(finished, looked_at, judges)
    keep_going()
    looked = time.perf_counter()
    evaluated = _evaluated(finished, judges, keep_going)
    measured = {"figures of the job": looked - began}
    if finished.job.report_asked is not None:
        measured["evaluation"] = time.perf_counter() - looked
    report = _assembled(transaction, finished, len(looked_at), figures, evaluated, measured)
    strips = sheets(looked_at.by_class(finished.plan, IMAGES_A_CLASS))
    page = render(report, Pictures(strips, evaluated.pictures))
    return _store(storage, report, page, began)


def _figures(finished: Finished, looked_at: LookedAt, judges: Judges) -> dict[str, Figure]:
    job, plan = finished.job, finished.plan
    found = _agreement(plan, looked_at, judges.label)
    # Variants of one image are alike, as they were asked to be.
    first = looked_at.first_variants
    found["near_duplicates"] = samples.near_duplicates(
        looked_at.pixels[first], looked_at.labels[first]
    )
    found["refused"] = samples.refused(job.refused, plan.drawn + job.refused)
    return found


def _agreement(plan: Plan, looked_at: LookedAt, label: Label) -> dict[str, Figure]:
    """Label agreement by a shipped classifier of these classes, or why there is none."""
    if plan.labelled_by is not None:
        return _not_agreed(f"{plan.labelled_by.ref} gave the labels, so it agrees with all of them")
    judge = _judge_of(plan)
    if judge is None:
        return _not_agreed(
            "no classifier is shipped for these classes at this size; hold the samples against "
            'real images with "report": {"against": "ds_…"}'
        )
    try:
        verdicts = label(judge.sha256, looked_at.pixels)
    except SynthloomError as error:
        return _not_agreed(error.detail)
    checked = plan.checks.label_agreement if plan.checks else None
    by_itself = checked is not None and checked.sha256 == judge.sha256
    name = f"{judge.ref} (which checked every sample)" if by_itself else judge.ref
    names = judge.classes
    positions = np.array([names.index(name) if name in names else -1 for name in plan.classes])
    return samples.agreement(verdicts, positions[looked_at.labels], judge.classes, name)


def _not_agreed(reason: str) -> dict[str, Figure]:
    return {"label_agreement": Figure(value=None, synthetic=0, reason=reason)}


def _judge_of(plan: Plan) -> ClassifierSpec | None:
    """The newest shipped classifier that knows every class of the plan at its image size."""
    fits = [
        shipped.spec
        for shipped in shipped_classifiers()
        if shipped.spec.image == plan.image
        and set(plan.samples_per_class) <= set(shipped.spec.classes)
    ]
    newest = sorted(fits, key=lambda spec: [int(part) for part in spec.version.split(".")])
    return newest[-1] if newest else None


def _evaluated(finished: Finished, judges: Judges, keep_going: KeepGoing) -> Evaluated:
    asked = finished.job.report_asked
    if asked is None:
        return Evaluated()
    return judges.evaluate(finished, AskedReport.model_validate(asked), keep_going)


def _assembled(
    transaction: Transaction,
    finished: Finished,
    looked_at: int,
    figures: Mapping[str, Figure],
    evaluated: Evaluated,
    measured: dict[str, float],
) -> Report:
    job, plan, evaluation = finished.job, finished.plan, evaluated.evaluation
    with transaction() as session:
        models = model_parts(session, job, plan)
        names = class_names(session, job, plan)
        work = work_of(session, job)
        moment = now(session)
    request = request_of(job, plan, names)
    part = job_part(job, plan, finished.delivered, work, finished.archives, looked_at, request)
    asked = AskedReport.model_validate(job.report_asked) if job.report_asked else None
    every = _merged(asked, figures, evaluated)
    gate = judge([read_condition(text) for text in job.gate or ()], every)
    verdict = verdict_of(part, models, every, evaluation)
    if gate is not None and not gate.passed:
        verdict = f"{gate.sentence} {verdict}"
    return Report(
        title=f"Job {job.id}: {', '.join(model.ref for model in plan.models)}",
        verdict=verdict,
        warnings=warnings_of(models, evaluation),
        created=moment,
        software=f"Synthloom {version('synthloom')}",
        job=part,
        gate=gate,
        figures=every,
        models=models,
        evaluation=evaluation,
        evaluation_reason=_why_not(job, evaluated),
        cost=cost_of(job, work, finished.archives, measured),
        environment={f"worker {n}": e for n, e in enumerate(work.environments, 1)},
        again=again_of(plan, names, request),
    )


def _merged(
    asked: AskedReport | None, figures: Mapping[str, Figure], evaluated: Evaluated
) -> dict[str, Figure]:
    """Figures of the job, and over them those of the evaluation, whose classifier has learnt from
    the user's own images. What was asked for and is absent has its reason."""
    evaluation = evaluated.evaluation
    found = dict(evaluation.figures()) if evaluation else {}
    agreed = found.get("label_agreement")
    own = dict(figures)
    if agreed is not None:
        worse = own if agreed.value is not None else found
        for name in [name for name in worse if name.startswith("label_agreement")]:
            del worse[name]
    if asked is None:
        return own
    reason = evaluated.reason
    if evaluation is not None:
        lift = evaluation.lift
        reason = evaluation.lift_reason if lift is None else lift.advice.sentence
    wanted = ("against", "lift") if asked.lift else ("against",)
    missing = {
        name: Figure(value=None, synthetic=0, reason=reason or "it was not measured")
        for name, known in KNOWN.items()
        if known.needs in wanted and name not in found
    }
    return {**own, **found, **missing}


def _why_not(job: Job, evaluated: Evaluated) -> str | None:
    if evaluated.evaluation is not None:
        return None
    if job.report_asked is None:
        return (
            "The samples were not held against real images. Upload some with synthloom datasets "
            'upload, and ask for it with "report": {"against": "ds_…"}.'
        )
    return f"The samples could not be held against real images: {evaluated.reason}"


def _store(storage: LocalStorage, report: Report, page: str, began: float) -> StoredReport:
    assert report.job is not None
    base = f"jobs/{report.job.id}/report.{secrets.token_hex(8)}"
    stored = []
    for extension, text in (("json", report.to_json()), ("html", page)):
        with storage.create(f"{base}.{extension}") as writer:
            writer.write(text.encode())
        stored.append((f"{base}.{extension}", writer.bytes, writer.sha256))
    (json_key, json_bytes, json_sha256), (html_key, html_bytes, html_sha256) = stored
    return StoredReport(
        verdict=report.verdict,
        gate=report.gate,
        json_key=json_key,
        json_bytes=json_bytes,
        json_sha256=json_sha256,
        html_key=html_key,
        html_bytes=html_bytes,
        html_sha256=html_sha256,
        seconds=time.perf_counter() - began,
    )
