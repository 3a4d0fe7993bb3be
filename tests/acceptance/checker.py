"""Judges what is left after faults, with none of the product's code but its table names.

The invariants: every acknowledged job has ended; a succeeded one has exactly N rows, indices
0…N-1 once each, and an archive whose members, counts and hashes agree with the rows; no file
is without a row, no row without a file.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pyarrow import parquet


def check_everything(
    database: sa.Engine, objects: Path, submitted: dict[str, dict[str, int]]
) -> None:
    """Assert all invariants. `submitted`: job id → the class counts that were asked for."""
    with database.connect() as connection:
        jobs = {row["id"]: row for row in _rows(connection, "SELECT * FROM jobs")}
        assert set(submitted) == set(jobs), "jobs acknowledged and jobs stored differ"
        for job_id, asked in submitted.items():
            job = jobs[job_id]
            assert job["state"] == "succeeded", (job_id, job["state"], job["problem"])
            _check_job(connection, objects, job, asked)
        assert _stored_files(objects) == _named_files(connection)
        assert not _rows(connection, "SELECT id FROM jobs WHERE swept_at IS NULL")


def _check_job(
    connection: sa.Connection, objects: Path, job: dict[str, Any], asked: dict[str, int]
) -> None:
    rows = _samples(connection, objects, job)
    total = sum(asked.values())
    assert [row["index"] for row in rows] == list(range(total))
    hashes = {row["index"]: bytes(row["file_sha256"]).hex() for row in rows}
    [archive] = _rows(connection, "SELECT * FROM archives WHERE job_number = :n", n=job["number"])
    path = objects / archive["object_key"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == archive["sha256"]
    _check_archive(path, asked, hashes)


def _samples(connection: sa.Connection, objects: Path, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Index and hash of every sample, from where the job keeps its rows and from nowhere else."""
    in_database = _rows(
        connection,
        'SELECT "index", file_sha256 FROM samples WHERE job_number = :n ORDER BY "index"',
        n=job["number"],
    )
    shards = _rows(
        connection,
        'SELECT rows_key, rows_sha256 FROM shards WHERE job_number = :n ORDER BY "index"',
        n=job["number"],
    )
    in_files = []
    for shard in shards:
        if shard["rows_key"]:
            path = objects / shard["rows_key"]
            assert hashlib.sha256(path.read_bytes()).hexdigest() == shard["rows_sha256"]
            in_files += parquet.read_table(path, columns=["index", "file_sha256"]).to_pylist()
    assert not (in_files if job["rows_in"] == "database" else in_database)
    return in_database or in_files


def _check_archive(path: Path, asked: dict[str, int], hashes: dict[int, str]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}  # checks every CRC
        assert len(members) == len(archive.namelist()), "a member stands twice"
    images = {name: payload for name, payload in members.items() if name.endswith(".png")}
    found = {name: hashlib.sha256(payload).hexdigest() for name, payload in images.items()}
    assert {int(Path(name).stem): digest for name, digest in found.items()} == hashes
    assert Counter(name.split("/")[0] for name in images) == asked
    sums = dict(line.split("  ", 1)[::-1] for line in members["SHA256SUMS"].decode().splitlines())
    document = hashlib.sha256(members["dataset.json"]).hexdigest()
    assert sums == found | {"dataset.json": document}
    assert json.loads(members["dataset.json"])["samples_per_class"] == asked


def _stored_files(objects: Path) -> set[str]:
    jobs = objects / "jobs"
    return {str(p.relative_to(objects)) for p in jobs.rglob("*") if p.is_file()}


def _named_files(connection: sa.Connection) -> set[str]:
    named = _rows(
        connection,
        "SELECT object_key FROM shards UNION SELECT rows_key FROM shards"
        " UNION SELECT object_key FROM archives"
        " UNION SELECT json_key FROM job_reports UNION SELECT html_key FROM job_reports",
    )
    return {row["object_key"] for row in named if row["object_key"]}


def _rows(connection: sa.Connection, query: str, **parameters: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(sa.text(query), parameters).mappings()]
