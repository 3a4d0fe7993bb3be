"""Prints a table and writes `build/bench.json`: figure → number, flat."""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks import figures, parts

GOALS = {
    "job_over_bare_loop": "≤ 1.5",
    "worker_memory_growth": "≤ 1.10",
    "api_memory_growth": "≤ 1.10",
    "api_ready_seconds": "≤ 3",
    "small_job_ms": "≤ 250",
    "png_over_pillow": "≥ 3",
    "rows_per_second_sqlite": "≥ 250,000",
    "rows_per_second_postgresql": "≥ 250,000",
    "sync_over_bare": "≥ 0.95",
    "sync_lone_more_ms": "≤ 5",
}


def main() -> None:
    """Measure, print, write."""
    options = _options()
    measured: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="synthloom-bench-") as name:
        for measure in _measures(Path(name), options):
            found = measure()
            measured |= found
            for figure, value in found.items():
                Console(stderr=True).print(f"{figure}: {value:.3f}")
    _print(measured)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(measured, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--samples", type=int, default=50_000, help="of the job against the loop")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", type=int, default=20_000, help="small job of the memory figure")
    parser.add_argument("--many", type=int, default=200_000, help="large job of the memory figure")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    return parser.parse_args()


def _measures(folder: Path, options: argparse.Namespace) -> list[Callable[[], dict[str, float]]]:
    return [
        lambda: figures.start_seconds(folder, options.rounds),
        lambda: figures.small_job_ms(folder, 10 * options.rounds),
        lambda: figures.job_over_bare_loop(folder, options.samples, options.rounds),
        lambda: figures.waiting_requests(folder, clients=64, samples=16, seconds=8.0),
        parts.png_over_pillow,
        lambda: parts.rows_per_second(folder),
        lambda: figures.memory_growth(folder, options.few, options.many),
    ]


def _print(measured: dict[str, float]) -> None:
    table = Table(title=f"Synthloom on {platform.machine()}, {platform.python_version()}")
    for column in ("figure", "value", "goal"):
        table.add_column(column)
    for figure, value in measured.items():
        table.add_row(figure, f"{value:.3f}", GOALS.get(figure, ""))
    Console().print(table)


if __name__ == "__main__":
    main()
