"""Copies of training images: what is too near is found out once, and kept in the plan of its job.

It follows from the dataset and the plan alone, so it does not matter which worker comes first: the
others find in the plan what they would have found out themselves.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.checks.checking import Distances
from app.checks.planned import CopyLimits, PlannedCopies
from app.datasets import real
from app.db.tables import Job
from app.errors import DatasetCorruptError, JobError, JobStoppedError
from app.jobs.lease import Lease
from app.jobs.lifecycle import lock_running
from app.jobs.plan import Plan
from app.storage import LocalStorage

Transaction = Callable[[], AbstractContextManager[Session]]
KeepGoing = Callable[[], None]
Upload = Callable[[], Path]
"""The file of the real dataset, once it was compared with its hash."""


class Originals(Protocol):
    """The training images that the samples of a plan must not be copies of."""

    def distances(
        self, images: NDArray[np.uint8], groups: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """As of `Checking`."""

    def limits(self, plan: Plan, upload: Upload, keep_going: KeepGoing) -> CopyLimits:
        """How near is too near, by the unseen images of the dataset."""


LoadOriginals = Callable[[Plan, Upload, KeepGoing], Originals]


def no_originals(plan: Plan, upload: Upload, keep_going: KeepGoing) -> Originals:
    """Of a worker that can't compare images."""
    raise JobError("This worker can't compare samples with training images.")


def held_against(
    transaction: Transaction,
    storage: LocalStorage,
    lease: Lease,
    load: LoadOriginals,
    keep_going: KeepGoing,
) -> tuple[Plan, Distances | None]:
    """The plan of a shard with its limits, and how to measure; None where no copies are refused.

    `keep_going` is called now and then, and raises to stop. Raises DatasetCorruptError, and
    JobStoppedError when the job has ended.
    """
    plan = lease.plan
    copies = plan.checks.copies if plan.checks else None
    if copies is None:
        return plan, None
    upload = partial(_upload, transaction, storage, lease.tenant_id, copies)
    originals = load(plan, upload, keep_going)
    if copies.limits is None:
        limits = originals.limits(plan, upload, keep_going)
        plan = _frozen(transaction, lease.job_number, limits)
    return plan, originals.distances


def _upload(
    transaction: Transaction, storage: LocalStorage, tenant_id: str, copies: PlannedCopies
) -> Path:
    with transaction() as session:
        dataset = real.by_content(session, tenant_id, copies.sha256)
    if dataset is None:
        raise DatasetCorruptError(
            f"The dataset {copies.dataset} is gone. Upload it again, and submit the job again."
        )
    return real.stored_file(storage, dataset)


def _frozen(transaction: Transaction, job_number: int, limits: CopyLimits) -> Plan:
    """The plan of a job with limits: those that another worker wrote first, or these."""
    with transaction() as session:
        if not lock_running(session, job_number):
            raise JobStoppedError("The job has ended.")
        this = Job.number == job_number
        document = copy.deepcopy(session.execute(sa.select(Job.plan).where(this)).scalar_one())
        if document["checks"]["copies"].get("limits") is None:
            document["checks"]["copies"]["limits"] = asdict(limits)
            session.execute(sa.update(Job).where(this).values(plan=document))
    return Plan.from_json(document)
