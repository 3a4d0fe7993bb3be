"""Shows how far a training or an evaluation is: a bar in a terminal, else a line now and then."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from app.cli.progress import clock
from app.cli.terminal import say, stderr
from app.client_runs import Run, RunProgress

LINES_A_RUN = 20


class RunReporter(Protocol):
    """Told what happens to a run; used with `with`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def run(self, run: Run) -> None:
        """The run has moved."""


def run_reporter() -> RunReporter:
    """A bar when stderr is a terminal."""
    console = stderr()
    return RunBar(console) if console.is_terminal else RunLines()


def told(progress: RunProgress) -> str:
    """Losses, figures and what is left, in one line."""
    numbers = {**progress.losses, **progress.figures}
    parts = [f"{name} {value:.3g}" for name, value in numbers.items() if value is not None]
    if progress.step is not None:
        steps = f" of {progress.steps:,}" if progress.steps is not None else ""
        parts.insert(0, f"step {progress.step:,}{steps}")
    if progress.seconds_left is not None:
        parts.append(f"{clock(progress.seconds_left)} left")
    return ", ".join(parts)


class RunLines:
    """For logs: states and stages, and every twentieth of the way."""

    def __init__(self) -> None:
        self._seen: tuple[str, str, int] | None = None
        self._warned: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, run: Run) -> None:
        progress = run.progress
        seen = (run.state.value, progress.stage, int(LINES_A_RUN * (progress.done or 0.0)))
        if seen != self._seen:
            self._seen = seen
            done = "" if progress.done is None else f" {100 * progress.done:.0f} %"
            more = told(progress)
            say(f"{run.id} {run.state.value}: {progress.stage}{done}{', ' + more if more else ''}")
        for warning in progress.warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                say(warning)


class RunBar:
    """One bar; what it says beside it changes."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[told]}"),
            console=console,
        )
        self._task = self._progress.add_task("queued", total=1.0, told="")
        self._warned: set[str] = set()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def run(self, run: Run) -> None:
        progress = run.progress
        self._progress.update(
            self._task,
            description=progress.stage if run.state.value == "running" else run.state.value,
            completed=1.0 if run.state.value == "succeeded" else progress.done or 0.0,
            told=told(progress),
        )
        for warning in progress.warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                self._progress.console.print(warning, markup=False, soft_wrap=True)
