"""What `make bench` found reaches the document, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.report import GOALS, Goal, Report
from tests.benchmarks.tables import DOCUMENT, written

ROOT = Path(__file__).parents[2]
FIGURES = {
    "job_over_bare_loop": 1.25,
    "script_over_job": 21.04,
    "script_over_job_lowest": 20.0,
    "script_over_job_highest": 22.0,
    "n_1000_microseconds_per_sample": 80.0,
    "n_1000_worker_mib": 512.0,
}


def test_the_document_has_a_place_for_every_table() -> None:
    document = (ROOT / DOCUMENT).read_text()
    once = written(document, FIGURES)
    assert written(once, FIGURES) == once
    assert "| 1.25 |" in once
    assert "| 21.0 × | 20.0 × … 22.0 × | ≥ 15 | reached |" in once
    assert "| 1,000 | 80.0 | 512 MiB |" in once


def test_what_was_not_measured_is_said_to_be_so() -> None:
    document = written((ROOT / DOCUMENT).read_text(), {})
    assert "| Ray Serve, convolutional | not measured |" in document


def test_a_document_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="figures"):
        written("# Performance\n", FIGURES)


@pytest.mark.parametrize(
    ("goal", "reached", "missed"),
    [(Goal(at_most=1.15), 1.15, 1.16), (Goal(at_least=15), 15.0, 14.9)],
)
def test_a_goal_counts_its_own_limit(goal: Goal, reached: float, missed: float) -> None:
    assert goal.reached(reached)
    assert not goal.reached(missed)


def test_every_goal_is_a_bound_on_one_side() -> None:
    assert all((goal.at_most is None) != (goal.at_least is None) for goal in GOALS.values())


def test_a_figure_is_in_the_file_as_soon_as_it_is_there(tmp_path: Path) -> None:
    report = Report(tmp_path / "build" / "bench.json", {"earlier": 1.0})
    report.add({"later": 2.0})
    assert (tmp_path / "build" / "bench.json").read_text().split() == [
        *("{", '"earlier":', "1.0,", '"later":', "2.0", "}")
    ]
