"""Jobs submitted while the service is killed again and again at random moments."""

from __future__ import annotations

import random
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from tests.acceptance.checker import check_everything
from tests.harness import Server, end, wait_for

PATIENCE_SECONDS = 300.0
"""Time for one step: a start, an answer, or any progress at all. Only what is stuck takes longer,
also on a machine where other things run."""
CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat")


class Chaos:
    """One service, its jobs, and what was done to it."""

    def __init__(self, folder: Path, database_url: str, seed: int, workers: int) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.workers = workers
        self.settings: dict[str, Any] = {
            "database_url": database_url,
            "shard_samples": 150,
            "rows_in_database_up_to": 300,  # so that jobs of both kinds are among them
            "shard_window": 3,
            "engine_batch": 64,
            "heartbeat_seconds": 0.5,
            "lease_seconds": 4.0,
            "shard_attempts": 100,
        }
        self.database = sa.create_engine(database_url, poolclass=sa.NullPool)
        self.submitted: dict[str, dict[str, int]] = {}
        self.kills: list[str] = []
        self.started: set[int] = set()
        self.server = self._started()

    def run(self, jobs: int, kills: int, samples: int) -> None:
        """Submit `jobs` jobs between `kills` kills, then wait until all is ended and swept."""
        bodies = [self._body(number, samples) for number in range(jobs)]
        for number in range(max(jobs, kills)):
            if number < jobs:
                self._submit(f"job-{number}", bodies[number])
            if len(self.kills) < kills:
                self._kill()
        while (left := self._left()) != (0, 0, 0):
            wait_for(f"less than {left}", lambda: self._left() != left, PATIENCE_SECONDS, 0.2)

    def check(self) -> None:
        """Stop the service cleanly, and judge what it left."""
        assert self.server.stop() == 0
        wait_for("the end of killed servers' workers", lambda: not self._deserted(), 60)
        check_everything(self.database, self.folder / "objects", self.submitted)

    def _started(self) -> Server:
        server = Server(self.folder, self.workers, **self.settings)
        look = lambda: server._checked(server._announced)  # noqa: E731
        server.url = wait_for("server.json", look, PATIENCE_SECONDS)
        return server

    def _body(self, number: int, samples: int) -> dict[str, Any]:
        counts = {name: self.random.randint(1, samples) for name in self.random.sample(CLASSES, 3)}
        return {"model": "fashion-cgan", "samples_per_class": counts, "seed": number}

    def _submit(self, key: str, body: dict[str, Any]) -> None:
        """Until it is acknowledged; the key makes that one job, whatever was killed meanwhile."""

        def acknowledged() -> dict[str, Any] | None:
            if not self.server.running:
                self.server = self._started()
            try:
                with self.server.client() as client:
                    answer = client.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                return None
            assert answer.status_code in (202, 503), answer.text
            return answer.json() if answer.status_code == 202 else None

        job = wait_for("an acknowledged job", acknowledged, PATIENCE_SECONDS)
        self.submitted[job["id"]] = body["samples_per_class"]

    def _kill(self) -> None:
        """SIGKILL the workers, the API or both, a random moment from now."""
        victim = self.random.choice(("worker", "api", "both"))
        if self.random.random() < 0.7:  # else: in the middle of starting
            wait_for("a worker", self._at_work, PATIENCE_SECONDS)
        threading.Event().wait(self.random.uniform(0.0, 1.5))
        workers = self.server.children()
        self.started.update(workers)
        if victim in ("api", "both"):
            self.server.kill()
        if victim in ("worker", "both"):
            for pid in workers:
                end(pid, signal.SIGKILL)
        self.kills.append(victim)
        if not self.server.running:
            self.server = self._started()

    def _deserted(self) -> list[int]:
        """Workers that live on without their server."""
        places = {pid: Path(f"/proc/{pid}/cwd") for pid in self.started}
        return [pid for pid, cwd in places.items() if cwd.exists() and cwd.samefile(self.folder)]

    def _at_work(self) -> bool:
        """Whether a worker of this server, not only one that was killed just now, says it lives."""
        with self.database.connect() as connection:
            pids = set(connection.execute(sa.text("SELECT pid FROM workers")).scalars())
        return not pids.isdisjoint(self.server.children())

    def _left(self) -> tuple[int, int, int]:
        """Shards to run, jobs to sweep and files to remove: all that is still to be done.

        Orphans of runs that lost their shard are looked for once a minute, and at a start.
        """
        with self.database.connect() as connection:
            shards, jobs = connection.execute(
                sa.text(
                    "SELECT count(shards.job_number), count(DISTINCT jobs.number) FROM jobs "
                    "LEFT JOIN shards ON shards.job_number = jobs.number AND done_at IS NULL "
                    "WHERE swept_at IS NULL"
                )
            ).one()
        files = (self.folder / "objects" / "jobs").rglob("*.part")
        return shards, jobs, sum(1 for _ in files)
