"""kill -9 of the worker, of the API, of both, at random moments: nothing lost, nothing twice.

`make soak` runs the long ones and prints what was done.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.chaos import Chaos

SOAK_KILLS = int(os.environ.get("SOAK_KILLS", "200"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("database_url", "jobs", "kills", "workers"),
    [("sqlite", 6, 4, 1), ("postgresql", 4, 3, 2)],
    indirect=["database_url"],
)
def test_every_job_survives_kills(
    tmp_path: Path, database_url: str, jobs: int, kills: int, workers: int
) -> None:
    _survive(Chaos(tmp_path, database_url, seed=kills, workers=workers), jobs=jobs, kills=kills)


@pytest.mark.soak
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize(
    ("database_url", "workers"), [("sqlite", 1), ("postgresql", 3)], indirect=["database_url"]
)
def test_every_job_survives_a_long_night(tmp_path: Path, database_url: str, workers: int) -> None:
    began = time.monotonic()
    chaos = Chaos(tmp_path, database_url, seed=SOAK_KILLS, workers=workers)
    _survive(chaos, jobs=SOAK_KILLS // 2, kills=SOAK_KILLS)
    samples = sum(sum(counts.values()) for counts in chaos.submitted.values())
    sys.stdout.write(
        f"\n{database_url.split(':')[0]}: {len(chaos.submitted)} jobs, {samples} samples, "
        f"{len(chaos.kills)} kills {dict(Counter(chaos.kills))} "
        f"in {time.monotonic() - began:.0f} s: 0 lost, 0 twice, 0 orphans\n"
    )


def _survive(chaos: Chaos, jobs: int, kills: int) -> None:
    try:
        chaos.run(jobs=jobs, kills=kills, samples=200)
        chaos.check()
    finally:
        chaos.server.kill()
    assert len(chaos.kills) == kills
    assert len(chaos.submitted) == jobs
