"""The same recipe gives the same bytes: on each database, with one worker or two, and whoever is
killed while it is carried out.

`make soak` kills more often and prints its figures.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.databases import fresh_postgres, fresh_sqlite
from tests.harness import end, follow, rows_of, serving, submit, wait_for

FORMATS = ["imagefolder", "webdataset", "parquet", "npz"]
RECIPE: dict[str, Any] = {
    "model": "fashion-cgan",
    "samples_per_class": {"trouser": 60, "sneaker": 120, "bag": 120},
    "seed": 7,
    # Both refuse some, the second one across shards too: those are run again.
    "checks": {
        "brightness": {"min": 0.15, "max": 0.5},
        "near_duplicates": {"distance": 3},
    },
    "formats": FORMATS,
}
SETTINGS: dict[str, Any] = {
    "shard_samples": 60,
    "engine_batch": 32,
    "shard_attempts": 1_000,
}
WHEN = "created"
"""All that a row of the manifest says of its run, and not of the dataset."""
SOAK_KILLS = int(os.environ.get("SOAK_KILLS", "20"))
PATIENCE_SECONDS = 900.0

Made = dict[str, str]
"""SHA-256 of each archive and of the manifest."""


def test_archives_and_manifest_are_the_same_wherever_they_are_made(
    tmp_path: Path, postgres_url: str
) -> None:
    made = _made_everywhere(tmp_path, postgres_url, RECIPE, kills=1)
    assert made.keys() == {"sqlite", "sqlite killed", "postgresql", "postgresql killed"}
    first = made["sqlite"]
    assert first.keys() == {*FORMATS, "manifest"}
    assert all(found == first for found in made.values()), made


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_archives_and_manifest_survive_many_kills(tmp_path: Path, postgres_url: str) -> None:
    began = time.monotonic()
    counts = {"trouser": 300, "sneaker": 600, "bag": 900, "dress": 300, "shirt": 900}
    recipe = RECIPE | {"samples_per_class": counts}
    made = _made_everywhere(tmp_path, postgres_url, recipe, SOAK_KILLS)
    different = {name: len({found[name] for found in made.values()}) for name in made["sqlite"]}
    sys.stdout.write(
        f"\n{sum(counts.values())} samples made {len(made)} times, {2 * SOAK_KILLS} kills, "
        f"{time.monotonic() - began:.0f} s: different contents {different}\n"
    )
    assert set(different.values()) == {1}


def _made_everywhere(
    folder: Path, postgres_url: str, recipe: dict[str, Any], kills: int
) -> dict[str, Made]:
    """A recipe carried out on each database, with and without kills."""
    urls = {"sqlite": fresh_sqlite(folder), "postgresql": fresh_postgres(postgres_url)}
    made: dict[str, Made] = {}
    for workers, (name, url) in enumerate(urls.items(), 1):
        settings = SETTINGS | {"database_url": url}
        database = sa.create_engine(url, poolclass=sa.NullPool)
        with serving(folder / name, workers, **settings) as server, server.client() as client:
            made[name] = _made(client, submit(client, recipe)["id"])
            job = submit(client, recipe)
            _kill(database, kills)
            made[f"{name} killed"] = _made(client, job["id"])
            assert _run_again(database) > 0
    return made


def _kill(database: sa.Engine, kills: int) -> None:
    """SIGKILL so many workers, each in the middle of a shard that was begun since the last one."""
    seen: set[str] = set()
    for _ in range(kills):
        at_work = wait_for("a running shard", lambda: _at_work(database, seen), PATIENCE_SECONDS)
        end(next(iter(at_work.values())))
        seen.update(at_work)


def _at_work(database: sa.Engine, seen: set[str]) -> dict[str, int]:
    """Of shards that run, but for those seen before: token and pid of the worker."""
    query = sa.text(
        "SELECT shards.token, pid FROM shards JOIN workers ON workers.id = shards.worker_id "
        "WHERE done_at IS NULL AND shards.token IS NOT NULL"
    )
    with database.connect() as connection:
        return {token: pid for token, pid in connection.execute(query) if token not in seen}


def _made(client: httpx.Client, job_id: str) -> Made:
    """What a job has become, once it has succeeded."""
    job = follow(client, job_id, PATIENCE_SECONDS).job
    assert job["state"] == "succeeded", job["problem"]
    refused = Counter(job["progress"]["refused"])
    assert refused["brightness"] > 0
    assert refused["near-duplicate"] > 0
    made = {}
    for archive in job["archives"]:
        content = client.get(archive["url"]).content
        made[archive["format"]] = hashlib.sha256(content).hexdigest()
        assert archive["sha256"] == made[archive["format"]]
    rows = rows_of(client, job)
    assert [row["index"] for row in rows] == list(range(job["samples"]))
    lasting = [{name: row[name] for name in row if name != WHEN} for row in rows]
    made["manifest"] = hashlib.sha256(json.dumps(lasting).encode()).hexdigest()
    return made


def _run_again(database: sa.Engine) -> int:
    """Shards that were run again because of what another one holds."""
    query = sa.text("SELECT count(*) FROM shards WHERE CAST(work AS TEXT) LIKE '%barred%'")
    with database.connect() as connection:
        return int(connection.execute(query).scalar_one())
