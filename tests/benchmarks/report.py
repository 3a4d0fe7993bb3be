"""Figures as they come: printed at once, written at once, so that a stop loses nothing."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from models.files import write_atomically


@dataclass(frozen=True)
class Goal:
    """What a figure should reach; most figures have none."""

    at_most: float | None = None
    at_least: float | None = None

    def __str__(self) -> str:
        sign, number = ("≤", self.at_most) if self.at_least is None else ("≥", self.at_least)
        return f"{sign} {number:,g}"

    def reached(self, value: float) -> bool:
        """Whether a measured value is good enough."""
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most


GOALS: Mapping[str, Goal] = {
    "job_over_bare_loop": Goal(at_most=1.15),
    "script_over_job": Goal(at_least=15),
    "png_over_pillow": Goal(at_least=3),
    "sync_over_bare": Goal(at_least=0.95),
    "sync_over_bare_overhead_bound": Goal(at_least=0.9),
    "sync_over_litserve": Goal(at_least=1.3),
    "sync_over_litserve_overhead_bound": Goal(at_least=1.4),
    "sync_over_bentoml": Goal(at_least=1.3),
    "sync_over_bentoml_overhead_bound": Goal(at_least=2.2),
    "sync_over_ray": Goal(at_least=1.3),
    "sync_over_ray_overhead_bound": Goal(at_least=4),
    "sync_p99_over_best_rival": Goal(at_most=1),
    "sync_p99_over_best_rival_overhead_bound": Goal(at_most=1),
    "lone_request_ms_over_bare": Goal(at_most=5),
    "small_job_ms": Goal(at_most=250),
    "shard_overhead_ms": Goal(at_most=15),
    "time_per_sample_growth": Goal(at_most=1.05),
    "classes_growth": Goal(at_most=1.05),
    "memory_growth": Goal(at_most=1.10),
    "worker_memory_growth": Goal(at_most=1.10),
    "api_memory_growth": Goal(at_most=1.10),
    "export_large_lowest": Goal(at_least=0.7),
    "export_small_lowest": Goal(at_least=0.7),
    "export_memory_growth": Goal(at_most=1.10),
    "api_ready_seconds": Goal(at_most=3),
    "rows_per_second_sqlite": Goal(at_least=250_000),
    "rows_per_second_postgresql": Goal(at_least=250_000),
}


@dataclass
class Report:
    """Every figure so far, figure → number."""

    path: Path
    figures: dict[str, float] = field(default_factory=dict)
    console: Console = field(default_factory=Console)

    def add(self, found: Mapping[str, float]) -> None:
        """Print new figures and write the file with them."""
        for name, value in found.items():
            self.figures[name] = value
            self.console.print("  ".join(_cells(name, value)), highlight=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, (json.dumps(self.figures, indent=2) + "\n").encode())

    def table(self) -> None:
        """All figures of this run and of those it was added to."""
        shown = Table(
            title=f"Synthloom on {platform.machine()}, Python {platform.python_version()}"
        )
        for column in ("figure", "value", "goal", ""):
            shown.add_column(column)
        for name, value in self.figures.items():
            shown.add_row(*_cells(name, value))
        self.console.print(shown)


def spread(name: str, values: Sequence[float], middle: float) -> dict[str, float]:
    """A figure with the lowest and the highest of its rounds."""
    return {name: middle, f"{name}_lowest": min(values), f"{name}_highest": max(values)}


def _cells(name: str, value: float) -> tuple[str, str, str, str]:
    goal = GOALS.get(name)
    if goal is None:
        return name, f"{value:,.3f}", "", ""
    return name, f"{value:,.3f}", str(goal), "reached" if goal.reached(value) else "NOT reached"
