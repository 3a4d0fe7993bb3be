"""The evaluation of a job for its report: as a run's, in a process of its own, with a deadline."""

from __future__ import annotations

import logging
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.datasets import real
from app.errors import SynthloomError
from app.jobs.asked_report import AskedReport
from app.jobs.plan import Plan
from app.jobs.report import Evaluated, Finished, KeepGoing
from app.jobs.work import WorkerContext, WorkerStoppingError
from app.runs import messages
from app.runs.process import Child
from models.evaluation.options import EvaluationOptions
from models.evaluation.results import EVALUATION_FILE, read_evaluation

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
GRACE_SECONDS = 60.0
"""On top of the minutes asked for: loading libraries and reading images are not in its budget."""
READABLE = ("imagefolder", "parquet", "npz")
"""Archives that images are read from, the easiest first."""
MOST_SAMPLES = 50_000
MOST_BYTES = 1 << 30
"""Of pixels. Of a larger job the first shard is measured, in which every class has its share."""


def evaluate_job(
    context: WorkerContext, finished: Finished, asked: AskedReport, keep_going: KeepGoing
) -> Evaluated:
    """Hold the samples of a job against the dataset that it names.

    What stands against it is the reason why there is no evaluation, never an error of the job.
    Raises WorkerStoppingError, and what `keep_going` raises.
    """
    try:
        order = _order(context, finished, asked)
    except SynthloomError as error:
        return Evaluated(reason=error.detail)
    with _folder(context, finished.job.id) as folder:
        messages.write(folder, messages.WORK_FILE, order)
        settings = context.settings
        with Child(folder, settings.training_threads, settings.hang_seconds) as child:
            in_time = _wait(context, child, asked.minutes * 60 + GRACE_SECONDS, keep_going)
        if not in_time:
            return Evaluated(
                reason=f"it had not ended after {asked.minutes:g} minutes; give it more of them"
            )
        return _found(folder, child)


def _order(context: WorkerContext, finished: Finished, asked: AskedReport) -> dict[str, Any]:
    """What the process is told. Raises NotFoundError for a dataset that was deleted."""
    job, storage = finished.job, context.storage
    with context.transaction() as session:
        dataset = real.find(session, job.tenant_id, asked.against)
    key, name = _subject(context, finished)
    options = EvaluationOptions(
        subject_name=name, real_name=dataset.name, lift=asked.lift, minutes=asked.minutes
    )
    return {
        "kind": "evaluation",
        "options": options.model_dump(mode="json"),
        "gate": [],
        "against": {"path": str(real.stored_file(storage, dataset)), "name": dataset.name},
        "subject": {"path": str(storage.path(key)), "name": name},
    }


def _subject(context: WorkerContext, finished: Finished) -> tuple[str, str]:
    """Key and name of what is measured: an archive of the job, or its first shard."""
    job, plan = finished.job, finished.plan
    if _small(plan):
        for wanted in READABLE:
            for archive in finished.archives:
                if archive.format == wanted:
                    return archive.object_key, job.id
    with context.transaction() as session:
        [first] = finished.manifest.rows.read(session, -1, 1)
    return first.object_key, f"the first {plan.start(1):,} samples of {job.id}"


def _small(plan: Plan) -> bool:
    return plan.samples <= MOST_SAMPLES and plan.samples * plan.image.bytes <= MOST_BYTES


@contextmanager
def _folder(context: WorkerContext, job_id: str) -> Iterator[Path]:
    """A folder among the files of the job: what a killed worker leaves is swept with them."""
    path = context.storage.path(f"jobs/{job_id}/evaluation.{secrets.token_hex(8)}")
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _wait(context: WorkerContext, child: Child, seconds: float, keep_going: KeepGoing) -> bool:
    """Until the process has ended. False: its time was over first."""
    deadline, silent = time.monotonic() + seconds, 0.0
    while not child.wait(LOOK_SECONDS):
        if context.stopping.is_set():
            raise WorkerStoppingError
        keep_going()
        silent = 0.0 if child.gave_sign() else silent + LOOK_SECONDS
        if time.monotonic() > deadline or silent > child.patience(context.settings.hang_seconds):
            return False
    return True


def _found(folder: Path, child: Child) -> Evaluated:
    problem = messages.read(folder, messages.PROBLEM_FILE)
    if problem is not None:
        return Evaluated(reason=str(problem.get("detail") or problem.get("title")))
    kept = folder / messages.EVALUATION_FOLDER
    if not (kept / EVALUATION_FILE).exists():
        said = (folder / messages.LOG_FILE).read_bytes()[-2_000:].decode("utf-8", "replace")
        log.warning("an evaluation ended with code %s and no word:\n%s", child.code, said)
        return Evaluated(
            reason="its process ended without a word, perhaps for want of memory; the worker's "
            "log has its last lines"
        )
    try:
        evaluation = read_evaluation(kept)
    except ValidationError:
        log.exception("an evaluation can't be read")
        return Evaluated(reason="its result could not be read; the worker's log has the details")
    pictures = {name: (kept / file).read_bytes() for name, file in evaluation.pictures.items()}
    return Evaluated(evaluation=evaluation, pictures=pictures)
