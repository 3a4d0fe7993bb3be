"""The right to commit one shard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.db.tables import RowsIn
from app.jobs.plan import Plan


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to commit one shard; void as soon as another run takes the shard."""

    job_number: int
    job_id: str
    tenant_id: str
    shard: int
    token: str
    plan: Plan
    window: int
    rows_in: RowsIn
    barred: tuple[NDArray[np.int64], ...] = ()
    """Positions that comparisons of all shards found to be near duplicates; see `Filling`."""

    @property
    def object_key(self) -> str:
        """Where this run, and no other, stores the shard."""
        return f"jobs/{self.job_id}/shards/{self.shard:06d}.{self.token}.zip"

    @property
    def rows_key(self) -> str:
        """Where it stores the shard's sample rows, if they are not for the database."""
        return f"jobs/{self.job_id}/shards/{self.shard:06d}.{self.token}.parquet"

    @property
    def compared(self) -> bool:
        """Whether shards are compared with one another when all are stored."""
        return self.plan.checks is not None and self.plan.checks.near_duplicates is not None
