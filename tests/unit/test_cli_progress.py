"""What a person at a terminal and a reader of a log see of a job that runs."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from app.cli.progress import Bars, Lines, clock
from app.client_types import Job
from tests.fake_service import FakeService


@pytest.fixture
def jobs(service: FakeService) -> list[Job]:
    """A job of 5,000 samples on its way."""
    service.quotas, service.states = {"bag": 5000}, ["queued", "running", "finalizing"]
    found = []
    while service.states:
        found.append(Job.model_validate(service.job()))
        service.states.pop(0)
    return [*found, Job.model_validate(service.job())]


def drawn(jobs: list[Job]) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    with Bars(console) as bars:
        for job in jobs:
            bars.job(job)
        bars.received(500, 1000)
        bars.received(1000, 1000)
        bars.files("Verified", 1, 5002)
        bars.files("Verified", 5002, 5002)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())


def test_bars_end_with_what_was_done(jobs: list[Job]) -> None:
    lines = [line for line in re.split(r"[\r\n]+", drawn(jobs)) if "━" in line]
    assert re.search(r"succeeded +━+ 5,000/5,000 .*in 0:00", "\n".join(lines))
    assert re.search(r"downloaded +━+ 1\.0/1\.0 kB", "\n".join(lines))
    assert re.search(r"verified +━+ 5,002/5,002 .*in 0:00", lines[-1])


def test_a_hint_stands_above_the_bar(jobs: list[Job]) -> None:
    screen = io.StringIO()
    with Bars(Console(file=screen, force_terminal=True, width=60, color_system=None)) as bars:
        bars.job(jobs[0])
        bars.hint("No worker is running.")
        bars.job(jobs[1])
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert re.search(r"\rNo worker is running\.\nqueued", shown)


def test_a_bar_says_that_the_time_is_not_known_yet(jobs: list[Job]) -> None:
    assert re.search(r"queued +0/5,000 +ETA --:--", drawn(jobs[:1]))


def test_lines_are_few(jobs: list[Job], capsys: pytest.CaptureFixture[str]) -> None:
    with Lines() as lines:
        for done in range(0, 5001, 7):
            progress = jobs[1].progress.model_copy(update={"samples_done": done})
            lines.job(jobs[1].model_copy(update={"progress": progress}))
        for done in range(5002):
            lines.files("Verified", done + 1, 5002)
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 11
    assert shown[1] == "job_1 running: 504 of 5,000 samples"
    assert shown[-1] == "Verified 5,002 files"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (3661, "1:01:01")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
