"""Cost of a sample against N, against the number of classes, and of many jobs at once."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.jobs import article_job, concurrent, seconds_of_job
from tests.benchmarks.memory import peak_rss_kib
from tests.benchmarks.networks import checkpoint, register, with_classes
from tests.benchmarks.report import spread
from tests.harness import run_job, serving

REFERENCE = 10_000
"""N that the growth of time and memory is told against."""
CLASS_SAMPLES = 10_000
CLASSES = (2, 10, 100, 1_000)
JOBS = (1, 4, 16, 64)
JOB_SAMPLES = 2_000


class _Measured(NamedTuple):
    seconds: float
    worker_kib: int


def measure(folder: Path, largest: int, rounds: int) -> Iterator[dict[str, float]]:
    """The article's network against N and jobs; a convolutional one against classes."""
    yield from against_samples(folder / "samples", largest)
    yield from against_classes(folder / "classes", rounds)
    yield from concurrent(folder / "jobs", JOB_SAMPLES, JOBS)


def against_samples(folder: Path, largest: int) -> Iterator[dict[str, float]]:
    """N = 10^3, 10^4, …: each N on a service of its own, so that its peak memory is its own."""
    found: dict[int, _Measured] = {}
    samples = 1_000
    while samples <= largest:
        found[samples] = _job_of(folder / str(samples), samples)
        shutil.rmtree(folder / str(samples))
        yield {
            f"n_{samples}_microseconds_per_sample": 1e6 * found[samples].seconds / samples,
            f"n_{samples}_worker_mib": found[samples].worker_kib / 1024,
        }
        samples *= 10
    if REFERENCE in found and largest > REFERENCE:
        last, first = found[max(found)], found[REFERENCE]
        yield {
            "time_per_sample_growth": last.seconds / max(found) / (first.seconds / REFERENCE),
            "memory_growth": last.worker_kib / first.worker_kib,
        }


def against_classes(folder: Path, rounds: int) -> Iterator[dict[str, float]]:
    """10,000 samples of models with 2, 10, 100 and 1,000 classes, by turns."""
    networks = {count: with_classes(count) for count in CLASSES}
    weights = [checkpoint(folder, network) for network in networks.values()]
    took: dict[int, list[float]] = {count: [] for count in CLASSES}
    register(folder / "service", *weights)
    with serving(folder / "service") as server, server.client() as client:
        for seed in range(rounds + 1):
            for count, network in networks.items():
                each = CLASS_SAMPLES // count
                body = {"model": network.name, "samples_per_class": each, "seed": seed}
                seconds = seconds_of_job(client, body)
                if seed:  # the first ones load the models
                    took[count].append(seconds)
    for count, times in took.items():
        rate = 1e6 * statistics.median(times) / CLASS_SAMPLES
        yield {f"classes_{count}_microseconds_per_sample": rate}
    ratios = [many / ten for many, ten in zip(took[1_000], took[10], strict=True)]
    yield spread("classes_growth", ratios, statistics.median(ratios))


def _job_of(folder: Path, samples: int) -> _Measured:
    """Median of several jobs where they are short, and the worker's peak after all of them."""
    with serving(folder) as server, server.client() as client:
        run_job(client, article_job(64), 600)
        times = [
            seconds_of_job(client, article_job(samples, seed))
            for seed in range(5 if samples <= REFERENCE else 1)
        ]
        return _Measured(statistics.median(times), peak_rss_kib(server.children()[0]))
