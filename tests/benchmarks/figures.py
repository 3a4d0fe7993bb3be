"""What is measured, each against the service as its user runs it: processes, HTTP, files."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.jobs import seconds_of_job
from tests.benchmarks.memory import peak_rss_kib
from tests.harness import Server, run_job, serving

MODEL = "fashion-cgan"
CLASSES = 10


def job_over_bare_loop(folder: Path, samples: int, rounds: int) -> dict[str, float]:
    """A job, submit → archive ready, over the bare loop: medians of alternating rounds."""
    jobs, bare = [], []
    with serving(folder / "service") as server, server.client() as client:
        run_job(client, _body(1_000), 600)  # the model is resident, caches are warm
        for number in range(rounds):
            bare.append(_bare_loop(samples, folder / "bare.tar"))
            jobs.append(seconds_of_job(client, _body(samples, seed=number)))
    ratios = [job / loop for job, loop in zip(jobs, bare, strict=True)]
    return {
        "job_over_bare_loop": statistics.median(ratios),
        "job_over_bare_loop_lowest": min(ratios),
        "job_over_bare_loop_highest": max(ratios),
        "job_samples_per_second": samples / statistics.median(jobs),
        "bare_loop_samples_per_second": samples / statistics.median(bare),
    }


def memory_growth(folder: Path, few: int, many: int) -> dict[str, float]:
    """Peak memory of worker and API for a large job over that of a small one, fresh processes."""
    peaks = {n: _peaks(folder / f"memory-{n}", n) for n in (few, many)}
    return {
        "worker_memory_growth": peaks[many][0] / peaks[few][0],
        "api_memory_growth": peaks[many][1] / peaks[few][1],
        "worker_peak_mib": peaks[many][0] / 1024,
        "api_peak_mib": peaks[many][1] / 1024,
    }


def start_seconds(folder: Path, rounds: int) -> dict[str, float]:
    """From the command to `/readyz` of the API, on a folder that has been started before."""
    took = []
    with serving(folder / "start"):
        pass
    for _ in range(rounds):
        began = time.perf_counter()
        server = Server(folder / "start", workers=0)
        server.wait_ready(workers=0)
        took.append(time.perf_counter() - began)
        server.stop()
    return {"api_ready_seconds": statistics.median(took)}


def small_job_ms(folder: Path, rounds: int) -> dict[str, float]:
    """A job of 10 samples on a warm model, submit → succeeded."""
    took = []
    with serving(folder / "small") as server, server.client() as client:
        run_job(client, _body(10), 600)
        for number in range(rounds):
            began = time.perf_counter()
            run_job(client, _body(10, seed=number), 600)
            took.append(1_000 * (time.perf_counter() - began))
    return {"small_job_ms": statistics.median(took)}


def _body(samples: int, seed: int = 7) -> dict[str, object]:
    return {"model": MODEL, "samples_per_class": samples // CLASSES, "seed": seed}


def _bare_loop(samples: int, out: Path) -> float:
    command = [sys.executable, "-m", "tests.benchmarks.bare_loop", MODEL, str(samples), str(out)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    out.unlink()
    return float(printed)


def _peaks(folder: Path, samples: int) -> tuple[int, int]:
    """KiB at most of the worker and of the API process during one job."""
    with serving(folder) as server, server.client() as client:
        run_job(client, _body(samples), 3_600)
        worker = server.children()[0]
        return peak_rss_kib(worker), peak_rss_kib(server.pid)
