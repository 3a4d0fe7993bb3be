"""Exactly N through database, storage and archive, for every awkward way to cut N.

The generator is a fake and the durable engine a loop; all else is what a worker runs.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter

import pytest

from app.datasets.rows import manifest_of
from app.db.tables import Archive, Job
from tests.local_worker import LocalWorker
from tests.service import Service

CUTS = [
    ({"bag": 1}, 1),
    ({"bag": 1}, 5_000),
    ({"bag": 1, "coat": 1, "dress": 1}, 1),
    ({"bag": 1, "coat": 1, "dress": 1, "shirt": 1, "sandal": 1}, 1),
    ({"bag": 7, "coat": 2}, 2),
    ({"bag": 7, "coat": 2}, 9),
    ({"bag": 7, "coat": 2}, 8),
    ({"bag": 10, "coat": 0, "dress": 1}, 5),
    ({"bag": 997, "coat": 3}, 100),
]


@pytest.mark.parametrize("in_database", [0, 1_000], ids=["rows in files", "rows in database"])
@pytest.mark.parametrize(("quotas", "shard_samples"), CUTS)
def test_a_job_delivers_exactly_what_was_asked(
    service: Service, quotas: dict[str, int], shard_samples: int, in_database: int
) -> None:
    where = service.settings
    worker = LocalWorker(
        where.data_dir,
        where.database_url,
        shard_samples=shard_samples,
        rows_in_database_up_to=in_database,
    )
    try:
        job = worker.submit(quotas)
        worker.run_shards(job)
        worker.finalize(job)
        check(worker, job, {name: n for name, n in quotas.items() if n})
    finally:
        worker.close()


def check(worker: LocalWorker, job: Job, asked: dict[str, int]) -> None:
    """Rows, archive and ledger agree with what was asked."""
    with worker.context.transaction() as session:
        ended = session.get_one(Job, job.number)
        assert ended.state == "succeeded", ended.problem
        archive = session.get_one(Archive, (job.number, "imagefolder"))
    manifest = manifest_of(ended, worker.storage)
    rows = [row for page in manifest.pages(worker.context.transaction, 17) for row in page]
    assert [row["index"] for row in rows] == list(range(sum(asked.values())))
    assert Counter(row["class"] for row in rows) == asked
    with zipfile.ZipFile(io.BytesIO(worker.storage.read(archive.object_key))) as opened:
        assert opened.testzip() is None
        members = set(opened.namelist())
        assert members - {"dataset.json", "SHA256SUMS"} == {row["file"] for row in rows}
        assert json.loads(opened.read("dataset.json"))["samples_per_class"] == asked
    assert archive.entries == len(rows) + 2


def test_a_slow_reader_of_the_manifest_holds_no_connection(service: Service) -> None:
    where = service.settings
    worker = LocalWorker(where.data_dir, where.database_url)
    try:
        job = worker.submit({"bag": 50})
        worker.run_shards(job)
        manifest = manifest_of(job, worker.storage)
        pages = manifest.pages(worker.context.transaction, 10)
        held = worker.database.pool.checkedout()
        assert len(next(pages)) == 10
        assert worker.database.pool.checkedout() == held == 0
        assert [len(page) for page in pages] == [10] * 4
    finally:
        worker.close()
