"""kill -9 of the worker, of the API, of both, at random moments: nothing lost, nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.chaos import Chaos


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("jobs", "kills", "seed"), [(20, 20, 1)])
def test_every_job_survives_kills_on_sqlite(
    tmp_path: Path, jobs: int, kills: int, seed: int
) -> None:
    chaos = Chaos(tmp_path, f"sqlite:///{tmp_path / 'synthloom.db'}", seed, workers=1)
    try:
        chaos.run(jobs=jobs, kills=kills, samples=200)
        chaos.check()
    finally:
        chaos.server.kill()
    assert len(chaos.kills) == kills
