"""Where the processor time of real processes goes: beside a job, and beside waiting requests.

How much each thread computes is the kernel's count; into which stages it goes is py-spy's, a
sampler that does not stop the process, without the samples in which a thread waits. Threads that
have no Python are those of torch's own pool. Writes `build/profile.json`: picture → thread →
stage → cores.
"""

from __future__ import annotations

import json
import linecache
import os
import re
import subprocess
import sysconfig
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.clients import Task, ask
from tests.benchmarks.jobs import article_job
from tests.benchmarks.networks import CONVOLUTIONAL, OVERHEAD_BOUND, Network, checkpoint
from tests.benchmarks.sync import CLIENTS, one_thread
from tests.benchmarks.targets import synthloom
from tests.harness import children_of, run_job, serving, submit

RATE = 100
OUT = Path("build/profile.json")
SECONDS = 8.0
MOST_SECONDS = 90.0
"""A sampler that takes longer is stopped: the machine is too busy for a profile."""

STAGES: tuple[tuple[str, str], ...] = (
    (r"models/latents\.py", "latents"),
    (r"to_levels|to_pixels", "uint8"),
    (r"models/(spec|registry|files)\.py", "request and plan"),
    (r"app/engine/|/models/\w+\.py|torch/", "device"),
    (r"sha256|hashlib", "hashes"),
    (r"app/datasets/(png|encoders|webp|jpeg|decoding)\.py", "encoding"),
    (r"dbos/", "durable engine"),
    (r"app/datasets/(zip_writer|members|manifest)\.py|app/storage\.py", "shard file"),
    (r"app/jobs/(shard|encoded)\.py", "shard loop"),
    (r"app/wire\.py|remote_engine\.py|generation_server\.py|exchanges\.py", "API to worker"),
    (r"uvicorn/|httptools|starlette/|fastapi/|anyio/|h11/|asyncio/|selectors\.py", "HTTP"),
    (r"app/api/|app/jobs/(plan|request)\.py|pydantic|app/catalogue\.py", "request and plan"),
    (r"numpy/lib/.*npyio|zipfile|app/datasets/batch\.py", "answer's file"),
    (r"sqlalchemy/|sqlite3|psycopg|app/db/", "database"),
)
"""Pattern of a frame → stage; the innermost frame that has one decides."""

WHOLE: tuple[tuple[str, str], ...] = (
    (r"commit_shard|insert_samples", "rows and commit"),
    (r"finalize_job", "archive"),
)
"""Pattern of a function → stage of everything that it calls."""

OTHER = "other"
WAIT = "waits"

WAITS = r"threading\.py|futures/(thread|_base)\.py|/(selectors|queue|socket)\.py"
"""Innermost frames of a thread that waits; the sampler takes some of them for running."""

POOL = "torch's pool"

Shares = dict[str, dict[str, float]]
"""Thread → stage → cores, as a mean over the time of the profile."""


class Frame(NamedTuple):
    """One line of a stack."""

    function: str
    file: str
    line: int

    def matches(self, pattern: str) -> bool:
        """By function, file and the source of the line: hashes are calls without a frame."""
        source = linecache.getline(self.file, self.line).strip() if "app/" in self.file else ""
        return re.search(pattern, f"{self.function} {self.file} {source}") is not None


def measure(folder: Path) -> Iterator[dict[str, float]]:
    """Profiles of jobs and of waiting requests; the share of the device of each as a figure."""
    found: dict[str, Shares] = {}
    for name, shares in _profiles(folder):
        found[name] = shares
        OUT.parent.mkdir(exist_ok=True)
        OUT.write_text(json.dumps(found, indent=2) + "\n")
        yield _figures(name, shares)


def _profiles(folder: Path) -> Iterator[tuple[str, Shares]]:
    for name, model in {"job": "fashion-cgan", "job_article": "fashion-gan"}.items():
        yield name, _job(folder / name, model)
    with one_thread():
        for network in (CONVOLUTIONAL, OVERHEAD_BOUND):
            weights = checkpoint(folder, network)
            suffix = network.name.removeprefix("bench-")
            for process, shares in _requests(folder / suffix, network, weights).items():
                yield f"requests_{suffix}_{process}", shares


def _job(folder: Path, model: str) -> Shares:
    """The worker in the middle of a job that does not end meanwhile."""
    with serving(folder) as server, server.client() as client:
        body = article_job(1_000) if model == "fashion-gan" else _classes_job(model, 100)
        run_job(client, body, 600)
        long = article_job(5_000_000) if model == "fashion-gan" else _classes_job(model, 500_000)
        job = submit(client, long)
        time.sleep(2.0)
        shares = _shares(server.children()[0], folder / "worker.txt")
        assert client.post(job["links"]["cancel"]).status_code < 300
    return shares


def _classes_job(model: str, each: int) -> dict[str, object]:
    return {"model": model, "samples_per_class": each, "seed": 1}


def _requests(folder: Path, network: Network, weights: Path) -> dict[str, Shares]:
    """API and worker under the load of `sync`."""
    with synthloom(network, weights, folder) as target:
        target.check(network)
        task = Task(
            *(target.port, target.path, target.body, CLIENTS),
            seconds=2 * SECONDS,
            headers=dict(target.headers),
        )
        with ThreadPoolExecutor(3) as pool:
            load = pool.submit(ask, task)
            time.sleep(2.0)
            [api] = [pid for pid in children_of(os.getpid()) if children_of(pid)]
            [worker] = children_of(api)
            parts = {
                name: pool.submit(_shares, pid, folder / f"{name}.txt")
                for name, pid in {"api": api, "worker": worker}.items()
            }
            found = {name: part.result() for name, part in parts.items()}
            load.result()
    return found


def _shares(pid: int, out: Path) -> Shares:
    """Cores by thread and stage of a process, for some seconds from now on."""
    before, began = _processor_seconds(pid), time.monotonic()
    _record(pid, out)
    after, wall = _processor_seconds(pid), time.monotonic() - began
    seen: dict[int, Counter[str]] = defaultdict(Counter)
    names: dict[int, str] = {}
    for row in out.read_text().splitlines():
        stack, _, count = row.rpartition(" ")
        thread, *frames = stack.split(";")
        number, name = _thread(thread)
        names[number] = name
        seen[number][_stage([_frame(frame) for frame in frames])] += int(count)
    found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for number, seconds in after.items():
        cores = (seconds - before.get(number, 0.0)) / wall
        for stage, share in _split(seen[number], number in names).items():
            found[names.get(number, POOL)][stage] += cores * share
    return {thread: dict(stages) for thread, stages in found.items()}


def _split(seen: Counter[str], python: bool) -> dict[str, float]:
    """Stage → its share of a thread's samples that do not wait."""
    if not python:
        return {"device": 1.0}
    busy = {stage: count for stage, count in seen.items() if stage != WAIT}
    total = sum(busy.values())
    return {stage: count / total for stage, count in busy.items()} if total else {OTHER: 1.0}


def _processor_seconds(pid: int) -> dict[int, float]:
    """Thread → user and system time so far (proc(5): fields 14 and 15 of `stat`)."""
    tick = os.sysconf("SC_CLK_TCK")
    found = {}
    for folder in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            found[int(folder.name)] = (int(fields[11]) + int(fields[12])) / tick
    return found


def _record(pid: int, out: Path) -> None:
    """Let py-spy write what the threads of a process execute."""
    spy = str(Path(sysconfig.get_path("scripts")) / "py-spy")
    duration = ["--rate", str(RATE), "--duration", f"{SECONDS:.0f}"]
    command = [spy, "record", "--format", "raw", "--pid", str(pid), *duration, "--threads"]
    subprocess.run(
        [*command, "--nonblocking", "--full-filenames", "--output", str(out)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=MOST_SECONDS,
    )


def _stage(frames: list[Frame]) -> str:
    if frames and re.search(WAITS, frames[-1].file):
        return WAIT
    for pattern, stage in WHOLE:
        if any(re.search(pattern, frame.function) for frame in frames):
            return stage
    for frame in reversed(frames):
        for pattern, stage in STAGES:
            if frame.matches(pattern):
                return stage
    return OTHER


def _frame(text: str) -> Frame:
    found = re.fullmatch(r"(.*) \((.*?)(?::(\d+))?\)", text)
    if found is None:
        return Frame(text, "", 0)
    return Frame(found[1], found[2], int(found[3] or 0))


def _thread(text: str) -> tuple[int, str]:
    """`thread (2538): encode_0` → the kernel's number, and the pool's or the thread's name."""
    found = re.fullmatch(r"thread \((\w+)\)(?:: \"?(.*?)\"?)?", text)
    if found is None:
        return 0, text
    name = found[2] or "thread"
    return int(found[1], 0), re.sub(r"[-_ ]*\d+$", "", name) or name


def _figures(picture: str, shares: Shares) -> dict[str, float]:
    """Cores in use, and how much of that is the device's."""
    cores = sum(sum(stages.values()) for stages in shares.values())
    device = sum(stages.get("device", 0.0) for stages in shares.values())
    return {
        f"profile_{picture}_cores": cores,
        f"profile_{picture}_device_share": device / cores if cores else 0.0,
    }
