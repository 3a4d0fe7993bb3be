"""What a job took, from its rows: seconds by stage, seconds of work, bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db.tables import Job, Shard
from app.jobs.lifecycle import StoredArchive
from app.quality.document import CostPart

MOST_ENVIRONMENTS = 5
_PAGE = 1_000


@dataclass
class Work:
    """What the shards of a job say, added up.

    seconds: by kind of work. refused: candidates by reason, and by the class that
    they were drawn for. environments: the differing ones of the workers that drew, at most a few.
    """

    last_done: datetime | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    refused_by_class: dict[str, dict[str, int]] = field(default_factory=dict)
    devices: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    environments: list[dict[str, str]] = field(default_factory=list)


def work_of(session: Session, job: Job) -> Work:
    """The work of a job whose shards are stored; read page by page."""
    work, last = Work(), -1
    columns = (
        Shard.index, Shard.seconds, Shard.bytes, Shard.refused, Shard.environment, Shard.work,
        Shard.done_at,
    )  # fmt: skip
    while True:
        page = session.execute(
            sa.select(*columns)
            .where(Shard.job_number == job.number, Shard.index > last)
            .order_by(Shard.index)
            .limit(_PAGE)
        ).all()
        for shard in page:
            _add(work, shard)
        if len(page) < _PAGE:
            return work
        last = page[-1][0]


def _add(work: Work, shard: sa.Row[Any]) -> None:
    kept = shard.work or {}
    for name, seconds in {"shards": shard.seconds or 0.0, **kept.get("seconds", {})}.items():
        work.seconds[name] = work.seconds.get(name, 0.0) + seconds
    reasons = kept.get("refused", {})
    work.refused.update(reasons)
    for name, why in kept.get("refused_by_class", {}).items():
        known = Counter(work.refused_by_class.get(name, {}))
        work.refused_by_class[name] = dict(known + Counter(why))
    if unexplained := shard.refused - sum(reasons.values()):
        work.refused["reason not kept"] += unexplained
    work.bytes += shard.bytes or 0
    environment = shard.environment or {}
    work.devices[environment.get("device", "unknown")] += 1
    if environment not in work.environments and len(work.environments) < MOST_ENVIRONMENTS:
        work.environments.append(environment)
    work.last_done = max(filter(None, (work.last_done, shard.done_at)), default=None)


def cost_of(
    job: Job, work: Work, archives: Sequence[StoredArchive], measured: dict[str, float]
) -> CostPart:
    """measured: seconds of what the last step did, by what it was."""
    began = job.started_at or job.created_at
    seconds = {"waiting for a worker": (began - job.created_at).total_seconds()}
    if work.last_done is not None:
        seconds["generation"] = (work.last_done - began).total_seconds()
    seconds["archives"] = sum(archive.seconds for archive in archives)
    return CostPart(
        seconds={name: round(value, 3) for name, value in (seconds | measured).items()},
        work_seconds={name: round(value, 3) for name, value in work.seconds.items()},
        devices=dict(work.devices),
        bytes={"shards": work.bytes, **{f"archive {a.format}": a.bytes for a in archives}},
    )
