"""`python -m tests.benchmarks.tables`: docs/performance.md from what was measured.

Each stands between two marks, `<!-- NAME -->` and `<!-- end NAME -->`; what is around them stays.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from models.files import write_atomically
from tests.benchmarks.report import GOALS

FIGURES = Path("build/bench.json")
DOCUMENTS = Path("docs")
DOCUMENT = DOCUMENTS / "performance.md"
Figures = Mapping[str, float]

ROWS: tuple[tuple[str, str, str], ...] = (
    ("job_over_bare_loop", "job of 200,000 samples of `fashion-cgan` over the bare loop", "{:.2f}"),
    ("script_over_job", "script (batch of 64, `save_image` an image) over a job, MLP", "{:.1f} ×"),
    ("script_per_sample_over_job", "script (one forward pass an image) over that job", "{:.1f} ×"),
    ("png_over_pillow", "PNG encoder over Pillow at level 1, the lowest of four", "{:.1f} ×"),
    ("sync_over_bare", "waiting requests over bare, convolutional", "{:.2f}"),
    ("sync_over_bare_overhead_bound", "waiting requests over bare, 5 ms a batch", "{:.2f}"),
    ("sync_over_litserve", "the same over LitServe, convolutional", "{:.2f} ×"),
    ("sync_over_litserve_overhead_bound", "… 5 ms a batch", "{:.2f} ×"),
    ("sync_over_bentoml", "the same over BentoML, convolutional", "{:.2f} ×"),
    ("sync_over_bentoml_overhead_bound", "… 5 ms a batch", "{:.2f} ×"),
    ("sync_over_ray", "the same over Ray Serve, convolutional", "{:.2f} ×"),
    ("sync_over_ray_overhead_bound", "… 5 ms a batch", "{:.2f} ×"),
    ("sync_p99_over_best_rival", "p99 over the lowest p99 of the three, convolutional", "{:.2f}"),
    ("sync_p99_over_best_rival_overhead_bound", "… 5 ms a batch", "{:.2f}"),
    ("lone_request_ms_over_bare", "a lone request of 16 samples, more than bare", "{:.1f} ms"),
    ("small_job_ms", "job of 10 samples, warm model, submit → succeeded", "{:.0f} ms"),
    ("shard_overhead_ms", "a shard of 5,000, beside its samples", "{:.1f} ms"),
    ("empty_shard_ms", "a shard of one sample, pauses of the queue included", "{:.1f} ms"),
    ("time_per_sample_growth", "time a sample, N = 10⁶ over N = 10⁴, MLP", "{:.2f}"),
    ("classes_growth", "1,000 classes × 10 over 10 classes × 1,000", "{:.2f}"),
    ("jobs_growth", "time a sample, 64 jobs at once over one", "{:.2f}"),
    ("memory_growth", "peak memory of the worker, N = 10⁶ over N = 10⁴, MLP", "{:.2f}"),
    ("worker_memory_growth", "… 200,000 over 20,000, `fashion-cgan`", "{:.2f}"),
    ("api_memory_growth", "peak memory of the API, the same", "{:.2f}"),
    ("rows_per_second_sqlite", "manifest rows a second in a transaction, SQLite", "{:,.0f}"),
    ("rows_per_second_postgresql", "… PostgreSQL", "{:,.0f}"),
    ("export_large_lowest", "copying shards over exporting, 256 × 256, slowest format", "{:.2f}"),
    ("export_small_lowest", "… 28 × 28, slowest format", "{:.2f}"),
    (
        "export_memory_growth",
        "peak memory of an export, largest N over smallest",
        "{:.2f}",
    ),
    ("download_over_copy", "copying an archive over downloading it", "{:.2f}"),
    ("download_api_more_mib", "memory that the API takes more for it", "{:.0f} MiB"),
    ("api_ready_seconds", "API, command → ready", "{:.1f} s"),
)
SERVERS = {"sync": "Synthloom", "litserve": "LitServe", "bentoml": "BentoML", "ray": "Ray Serve"}


def figures_table(figures: Figures) -> Iterator[str]:
    """Every figure with its spread, its goal, and whether that is reached."""
    yield "| figure | measured | lowest … highest | goal | |"
    yield "|---|---:|---|---|---|"
    for name, what, form in ROWS:
        goal = GOALS.get(name)
        if name not in figures:
            yield f"| {what} | not measured | | {goal or ''} | |"
            continue
        verdict = "" if goal is None else "reached" if goal.reached(figures[name]) else "**not**"
        between = ""
        if f"{name}_lowest" in figures:
            ends = (form.format(figures[f"{name}_{end}"]) for end in ("lowest", "highest"))
            between = " … ".join(ends)
        yield f"| {what} | {form.format(figures[name])} | {between} | {goal or ''} | {verdict} |"


def servers_table(figures: Figures) -> Iterator[str]:
    """Servers against one another, each network."""
    yield "| server, network | requests/s | of bare | p50; p99 under load | p50 alone |"
    yield "|---|---:|---:|---:|---:|"
    for suffix, network in {"": "convolutional", "_overhead_bound": "5 ms a batch"}.items():
        for server, name in SERVERS.items():
            rate = figures.get(f"{server}_requests_per_second{suffix}")
            if rate is None:
                yield f"| {name}, {network} | not measured | | | |"
                continue
            share = f"{server}_over_bare{suffix}"
            middle, tail, alone = (
                figures[f"{server}_{what}_ms{suffix}"] for what in ("p50", "p99", "lone_p50")
            )
            yield (
                f"| {name}, {network} | {rate:,.1f} | {figures[share]:.2f} "
                f"| {middle:,.0f}; {tail:,.0f} ms | {alone:,.1f} ms |"
            )


def cost_table(figures: Figures) -> Iterator[str]:
    """Time a sample and the worker's peak memory against N."""
    yield "| N | µs a sample | peak memory of the worker |"
    yield "|---:|---:|---:|"
    for samples in _numbers(figures, r"n_(\d+)_microseconds_per_sample"):
        each = figures[f"n_{samples}_microseconds_per_sample"]
        yield f"| {samples:,} | {each:,.1f} | {figures[f'n_{samples}_worker_mib']:,.0f} MiB |"


def exports_table(figures: Figures) -> Iterator[str]:
    """Archives against copies of the shards' files, each format and N."""
    yield (
        "| format, N | size | copy | build | copy / build | lowest … highest | with reading back "
        "| processors | peak memory |"
    )
    yield "|---|---:|---:|---:|---:|---|---:|---:|---:|"
    places = {
        (match[3], int(match[2]), match[1])
        for name in figures
        if (match := re.fullmatch(r"export_([a-z]+)_(\d+)_(\d+x\d+)", name))
    }
    for size, samples, layout in sorted(
        places, key=lambda found: (int(found[0].split("x")[0]), *found)
    ):
        name = f"export_{layout}_{samples}_{size}"
        copy, build, work = (
            figures[f"{name}_{what}_microseconds"] for what in ("copy", "build", "processor")
        )
        yield (
            f"| {layout}, {samples:,} of {size.replace('x', ' × ')} "
            f"| {figures[f'{name}_mib']:,.0f} MiB "
            f"| {copy:,.1f} µs | {build:,.1f} µs | {figures[name]:.2f} "
            f"| {figures[f'{name}_lowest']:.2f} … {figures[f'{name}_highest']:.2f} "
            f"| {figures[f'{name}_with_reading']:.2f} | {work:,.1f} µs "
            f"| {figures[f'{name}_peak_mib']:,.0f} MiB |"
        )


def pictures(names: Mapping[str, str]) -> Iterator[str]:
    """Those that have been drawn: name → what they show."""
    for name, what in names.items():
        if (DOCUMENTS / "pictures" / name).exists():
            yield ""
            yield f"![{what}](pictures/{name})"


CURVES = {
    "cost.png": "Time a sample against N and against the number of classes; samples a second of "
    "many jobs at once"
}
STAGES = {
    "job-stages.png": "Cores by thread and stage of a worker during jobs of two networks",
    "request-stages.png": "Cores by thread and stage of API and worker under waiting requests",
}

TABLES: Mapping[str, Callable[[Figures], Iterator[str]]] = {
    "figures": figures_table,
    "servers": servers_table,
    "cost": cost_table,
    "exports": exports_table,
    "curves": lambda _: pictures(CURVES),
    "stages": lambda _: pictures(STAGES),
}


def written(document: str, figures: Figures) -> str:
    """The document with its tables made anew. Raises ValueError where a mark is missing."""
    for name, table in TABLES.items():
        first, last = f"<!-- {name} -->\n", f"<!-- end {name} -->"
        before, found, rest = document.partition(first)
        _, end, after = rest.partition(last)
        if not (found and end):
            raise ValueError(f"there is no place for the table {name}")
        document = before + first + "".join(f"{row}\n" for row in table(figures)) + last + after
    return document


def _numbers(figures: Figures, pattern: str) -> list[int]:
    return sorted(int(match[1]) for name in figures if (match := re.fullmatch(pattern, name)))


def main() -> None:
    """Draw the pictures of the last run, and write its tables into the document."""
    from tests.benchmarks.pictures import draw

    draw()
    figures = json.loads(FIGURES.read_text())
    write_atomically(DOCUMENT, written(DOCUMENT.read_text(), figures).encode())
    sys.stdout.write(f"{DOCUMENT}: {', '.join(TABLES)} written from {FIGURES}\n")


if __name__ == "__main__":
    main()
