"""Why candidates of a job were refused, added up as its shards are stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db.tables import Job


def add_refusals(session: Session, job_number: int, refused: Mapping[str, int]) -> None:
    """Add a shard's refusals, by reason, to those of its job, whose row this transaction holds."""
    more = Counter({reason: count for reason, count in refused.items() if count})
    if not more:
        return
    known = session.execute(sa.select(Job.refusals).where(Job.number == job_number)).scalar_one()
    total = dict(sorted((more + Counter(known or {})).items()))
    session.execute(sa.update(Job).where(Job.number == job_number).values(refusals=total))


def take_refusals(session: Session, job_number: int, refused: Mapping[str, int]) -> None:
    """Take those of a shard that is run again away from its job's."""
    known = session.execute(sa.select(Job.refusals).where(Job.number == job_number)).scalar_one()
    left = Counter(known or {}) - Counter(refused)
    total = dict(sorted(left.items())) or None
    session.execute(sa.update(Job).where(Job.number == job_number).values(refusals=total))
