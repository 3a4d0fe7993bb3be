"""Jobs of a running service: against scripts, against shards, one beside another."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from app.client_polling import SLOWEST_POLL_SECONDS
from tests.benchmarks.networks import OVERHEAD_BOUND, checkpoint, register
from tests.benchmarks.report import spread
from tests.harness import follow, run_job, serving, submit

ARTICLE = "fashion-gan"
"""The multilayer perceptron 100 → 128 → 256 → 512 → 1024 → 784, unconditional."""
LONGEST_SECONDS = 3_600
SHARD, SHARDS = 5_120, 20
"""Twenty full batches each."""
EMPTY_SHARDS = 200


def article_job(samples: int, seed: int = 7) -> dict[str, object]:
    """A request for so many images of the article's network."""
    return {"model": ARTICLE, "samples": samples, "seed": seed}


def seconds_of_job(client: httpx.Client, body: dict[str, Any]) -> float:
    """Submitted → archives ready, by the service's own clock.

    It is looked at as rarely as our client looks at a long job: an answer costs the API some
    milliseconds, and every 30 of them, as tests look, would take a good part of a core.
    """
    job = run_job(client, body, LONGEST_SECONDS, pause=SLOWEST_POLL_SECONDS)
    created, finished = (datetime.fromisoformat(job[name]) for name in ("created", "finished"))
    return (finished - created).total_seconds()


def against_script(folder: Path, samples: int, rounds: int) -> Iterator[dict[str, float]]:
    """The script's time over the job's, same network and N, by turns."""
    jobs: list[float] = []
    scripts: dict[int, list[float]] = {64: [], 1: []}
    with serving(folder / "service") as server, server.client() as client:
        run_job(client, article_job(1_000), 600)
        for number in range(rounds):
            for batch, took in scripts.items():
                took.append(_script(samples, batch, folder / "images"))
            jobs.append(seconds_of_job(client, article_job(samples, seed=number)))
    ratios = {
        batch: [script / job for script, job in zip(took, jobs, strict=True)]
        for batch, took in scripts.items()
    }
    per_batch = statistics.median(ratios[64])
    yield {
        **spread("script_over_job", ratios[64], per_batch),
        "script_per_batch_over_job": per_batch,
        "script_per_sample_over_job": statistics.median(ratios[1]),
        "article_job_samples_per_second": samples / statistics.median(jobs),
        "script_per_batch_samples_per_second": samples / statistics.median(scripts[64]),
        "script_per_sample_samples_per_second": samples / statistics.median(scripts[1]),
    }


def shard_overhead(folder: Path, rounds: int) -> Iterator[dict[str, float]]:
    """What a shard costs beside its samples.

    `shard_overhead_ms`: the same 102,400 samples as 40 shards of 2,560 (ten full batches) and as 20
    of 5,120, by turns; the difference of the two jobs over the 20 shards more.
    `empty_shard_ms`: a job of 200 shards of one sample, the whole of it over 200: nothing is
    subtracted, and the pauses of the queue are included.
    """
    more: list[float] = []
    with (
        serving(folder / "fine", shard_samples=SHARD // 2) as fine,
        serving(folder / "coarse", shard_samples=SHARD) as coarse,
        fine.client() as to_fine,
        coarse.client() as to_coarse,
    ):
        for seed in range(rounds + 1):
            took = [
                seconds_of_job(client, article_job(SHARDS * SHARD, seed))
                for client in (to_fine, to_coarse)
            ]
            if seed:  # the first ones load the model
                more.append(1_000 * (took[0] - took[1]) / SHARDS)
    yield spread("shard_overhead_ms", more, statistics.median(more))
    weights = checkpoint(folder, OVERHEAD_BOUND)
    register(folder / "empty", weights)
    each = EMPTY_SHARDS // OVERHEAD_BOUND.classes
    body = {"model": OVERHEAD_BOUND.name, "samples_per_class": each, "seed": 1}
    with (
        serving(folder / "empty", shard_samples=1, engine_batch=8) as server,
        server.client() as client,
    ):
        run_job(client, {**body, "samples_per_class": 1}, 600)
        seconds = seconds_of_job(client, body)
    yield {"empty_shard_ms": 1_000 * seconds / EMPTY_SHARDS}


def concurrent(folder: Path, samples: int, counts: tuple[int, ...]) -> Iterator[dict[str, float]]:
    """So many jobs submitted at once, each of `samples`: samples a second of all together."""
    rates: dict[int, float] = {}
    with serving(folder / "service") as server, server.client() as client:
        run_job(client, article_job(samples), 600)
        for count in counts:
            began = time.perf_counter()
            ids = [_submitted(client, samples, number) for number in range(count)]
            for job_id in ids:
                ended = follow(client, job_id, 600, pause=SLOWEST_POLL_SECONDS / 10)
                assert ended.job["state"] == "succeeded"
            rates[count] = count * samples / (time.perf_counter() - began)
            yield {f"jobs_{count}_samples_per_second": rates[count]}
    yield {"jobs_growth": rates[counts[0]] / rates[counts[-1]]}


def _submitted(client: httpx.Client, samples: int, seed: int) -> str:
    job_id: str = submit(client, article_job(samples, seed))["id"]
    return job_id


def _script(samples: int, batch: int, out: Path) -> float:
    arguments = [ARTICLE, str(samples), str(batch), str(out)]
    command = [sys.executable, "-m", "tests.benchmarks.script", *arguments]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    shutil.rmtree(out)
    return float(printed)
