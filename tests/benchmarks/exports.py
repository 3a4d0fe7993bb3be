"""Building archives against copying the shards' files: the same bytes, the same disk.

`python -m tests.benchmarks.exports DATA JOB FORMAT ROUNDS` is the process that exports; it prints
JSON. Copies and exports take turns, both are synced to the disk, and files that are read are in the
page cache, as they are right after a job.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from app.db.session import create_engine, transaction
from app.db.tables import Job, Shard
from app.engine.memory import use_one_heap
from app.jobs import lifecycle
from app.jobs.archiving import build_archive, read_archive
from app.jobs.dispatch import Dispatcher
from app.jobs.formats import format_of
from app.settings import Settings
from app.storage import LocalStorage
from tests.benchmarks.memory import peak_rss_kib
from tests.benchmarks.report import spread
from tests.benchmarks.stored_jobs import FORMATS, stored_job
from tests.harness import serving

SMALL, LARGE = (28, 1), (256, 3)
"""Side and channels."""
FEWEST = 10_000
LARGE_SAMPLES = 4_000
_CHUNK = 1 << 20
_NO_REPORT = lifecycle.StoredReport("", None, "none", 0, "0" * 64, "none", 0, "0" * 64, 0.0)


def measure(folder: Path, largest: int, rounds: int) -> Iterator[dict[str, float]]:
    """Every format, for growing N of small images, and for large ones."""
    peaks: dict[str, list[float]] = {name: [] for name in FORMATS}
    slowest: dict[str, float] = {}
    samples = FEWEST
    while samples <= largest:
        name = f"{samples}_28x28"
        for found in _formats(folder / name, name, samples, SMALL, rounds):
            yield found
            for layout in FORMATS:
                if (peak := found.get(f"export_{layout}_{name}_peak_mib")) is not None:
                    peaks[layout].append(peak)
                    slowest[layout] = found[f"export_{layout}_{name}"]
        samples *= 10
    yield {"export_small_lowest": min(slowest.values())}
    yield {"export_memory_growth": max(max(found) / found[0] for found in peaks.values())}
    name = f"{LARGE_SAMPLES}_256x256"
    ratios: list[float] = []
    for found in _formats(folder / name, name, LARGE_SAMPLES, LARGE, rounds, downloaded=True):
        yield found
        ratios += [found[key] for layout in FORMATS if (key := f"export_{layout}_{name}") in found]
    yield {"export_large_lowest": min(ratios)}


def _formats(
    folder: Path,
    name: str,
    samples: int,
    size: tuple[int, int],
    rounds: int,
    downloaded: bool = False,
) -> Iterator[dict[str, float]]:
    job = stored_job(folder, samples, *size)
    for layout in FORMATS:
        command = [sys.executable, "-m", "tests.benchmarks.exports"]
        arguments = [str(folder), str(job.number), layout, str(rounds)]
        printed = subprocess.run(
            [*command, *arguments], check=True, capture_output=True, text=True
        ).stdout
        yield _figures(f"export_{layout}_{name}", samples, json.loads(printed))
    if downloaded:
        yield from _download(folder, job)
    shutil.rmtree(folder)


def _figures(name: str, samples: int, found: dict[str, Any]) -> dict[str, float]:
    built = [copy / build for copy, build, *_ in found["rounds"]]
    read = [copy / (build + again) for copy, build, again, _ in found["rounds"]]
    copies, builds, agains, works = (
        statistics.median(column) for column in zip(*found["rounds"], strict=True)
    )
    return {
        **spread(name, built, statistics.median(built)),
        f"{name}_with_reading": statistics.median(read),
        f"{name}_copy_microseconds": 1e6 * copies / samples,
        f"{name}_build_microseconds": 1e6 * builds / samples,
        f"{name}_processor_microseconds": 1e6 * works / samples,
        f"{name}_reading_microseconds": 1e6 * agains / samples,
        f"{name}_mib": found["mib"],
        f"{name}_peak_mib": found["peak_mib"],
        f"{name}_start_mib": found["start_mib"],
    }


def _download(folder: Path, job: Job) -> Iterator[dict[str, float]]:
    """The class folders over HTTP, in a stream, against a copy of the file."""
    settings = Settings(data_dir=folder, _env_file=None)
    database, storage = create_engine(settings.sqlalchemy_url), LocalStorage(settings.objects_dir)
    dispatcher = Dispatcher(database)
    archive = build_archive(
        partial(transaction, database), storage, job, format_of("imagefolder"), Counter()
    )
    with transaction(database) as session:
        lifecycle.succeed(session, dispatcher, job.number, [archive], _NO_REPORT)
    dispatcher.close()
    database.dispose()
    path = storage.path(archive.object_key)
    ratios, rates = [], []
    with serving(folder, workers=0) as server, server.client() as client:
        before = peak_rss_kib(server.pid)
        for _ in range(3):
            began = time.perf_counter()
            shutil.copyfile(path, folder / "copy")
            copied = time.perf_counter() - began
            took = _fetch(client, f"/v1/jobs/{job.id}/archives/imagefolder", folder / "fetched")
            ratios.append(copied / took)
            rates.append(archive.bytes / took / 2**20)
        after = peak_rss_kib(server.pid)
    yield {
        **spread("download_over_copy", ratios, statistics.median(ratios)),
        "download_mib_per_second": statistics.median(rates),
        "download_mib": archive.bytes / 2**20,
        "download_api_more_mib": (after - before) / 1024,
    }


def _fetch(client: httpx.Client, path: str, into: Path) -> float:
    began = time.perf_counter()
    with client.stream("GET", path) as answer, into.open("wb") as file:
        assert answer.status_code == 200
        for chunk in answer.iter_raw(_CHUNK):
            file.write(chunk)
    return time.perf_counter() - began


def export(data_dir: Path, number: int, layout: str, rounds: int) -> dict[str, Any]:
    """Copies and exports by turns: seconds of (copy, build, reading back), seconds of processors
    for the build, and peak memory."""
    use_one_heap()  # as a worker does
    settings = Settings(data_dir=data_dir, _env_file=None)
    database, storage = create_engine(settings.sqlalchemy_url), LocalStorage(settings.objects_dir)
    begin = partial(transaction, database)
    with begin() as session:
        job = session.execute(sa.select(Job).where(Job.number == number)).scalar_one()
        keys = session.execute(
            sa.select(Shard.object_key).where(Shard.job_number == number).order_by(Shard.index)
        ).scalars()
        shards = [storage.path(key) for key in keys if key is not None]
    start, took, size = peak_rss_kib(os.getpid()), [], 0
    _copy(shards, data_dir / "warm")
    for _ in range(rounds):
        copied = _copy(shards, data_dir / "copies")
        began, worked = time.perf_counter(), time.process_time()
        delivered = Counter[int]()
        archive = build_archive(begin, storage, job, format_of(layout), delivered)
        built, work = time.perf_counter(), time.process_time() - worked
        read_archive(begin, storage, job, archive, delivered)
        took.append((copied, built - began, time.perf_counter() - built, work))
        size = archive.bytes
        storage.delete(archive.object_key)
    peak = peak_rss_kib(os.getpid())
    database.dispose()
    mib = {"mib": size / 2**20, "peak_mib": peak / 1024, "start_mib": start / 1024}
    return {"rounds": took, **mib}


def _copy(files: list[Path], into: Path) -> float:
    """Seconds to copy the files and have them on the disk."""
    into.mkdir()
    began = time.perf_counter()
    for number, file in enumerate(files):
        shutil.copyfile(file, into / str(number))
    for number in range(len(files)):
        with (into / str(number)).open("rb") as copy:
            os.fsync(copy.fileno())
    took = time.perf_counter() - began
    shutil.rmtree(into)
    return took


if __name__ == "__main__":
    folder, job, layout, rounds = sys.argv[1:]
    print(json.dumps(export(Path(folder), int(job), layout, int(rounds))))
