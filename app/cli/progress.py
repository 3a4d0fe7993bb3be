"""Shows how far a job, its download and its check are: bars in a terminal, else a few lines."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from app.cli.terminal import plain, say, stderr
from app.client import Client
from app.client_errors import ClientError
from app.client_types import Job, JobState

LINES_A_JOB = 10
NO_WORKER = (
    "No worker is running, and the job waits for one: look into the log of the service, or start a "
    "worker with `synthloom worker` and the settings of the service."
)

Columns = list[ProgressColumn]


class Reporter(Protocol):
    """Told what happens; used with `with`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def job(self, job: Job) -> None:
        """The job has moved."""

    def hint(self, sentence: str) -> None:
        """Something to know while the job does not move."""

    def received(self, done: int, total: int) -> None:
        """Bytes of the archive have arrived."""

    def files(self, activity: str, done: int, total: int) -> None:
        """Files were unpacked or checked."""


def reporter() -> Reporter:
    """Bars when stderr is a terminal."""
    console = stderr()
    return Bars(console) if console.is_terminal else Lines()


def reason_to_wait(client: Client, job: Job) -> str | None:
    """Why a queued job will not begin by itself; None where nothing is known to be wrong."""
    if job.state is not JobState.QUEUED:
        return None
    try:
        return None if client.workers() else NO_WORKER
    except ClientError:
        return None


class Lines:
    """For logs: the job's states, every tenth of its samples, and each activity once."""

    def __init__(self) -> None:
        self._state = ""
        self._step = 0
        self._activity = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def job(self, job: Job) -> None:
        done, total = job.progress.samples_done, job.progress.samples
        step = done * LINES_A_JOB // max(total, 1)
        if job.state.value != self._state or step > self._step:
            self._state, self._step = job.state.value, step
            say(f"{job.id} {job.state.value}: {done:,} of {total:,} samples")

    def hint(self, sentence: str) -> None:
        say(sentence)

    def received(self, done: int, total: int) -> None:
        if done == total:
            self._once(f"Downloaded {total:,} bytes")

    def files(self, activity: str, done: int, total: int) -> None:
        if done == total:
            self._once(f"{activity} {total:,} files")

    def _once(self, activity: str) -> None:
        if activity != self._activity:
            self._activity = activity
            say(activity)


class Bars:
    """One bar for each activity; a finished one stays above the next."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._activity = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def job(self, job: Job) -> None:
        done, total = job.progress.samples_done, job.progress.samples
        self._move("job", job.state.value, done, total, _counted)

    def hint(self, sentence: str) -> None:
        self._console.print(plain(sentence), soft_wrap=True)

    def received(self, done: int, total: int) -> None:
        self._move("download", "downloaded", done, total, _weighed)

    def files(self, activity: str, done: int, total: int) -> None:
        self._move(activity, activity.lower(), done, total, _counted)

    def _move(
        self, activity: str, label: str, done: int, total: int, columns: Callable[[], Columns]
    ) -> None:
        if self._progress is None or activity != self._activity:
            self._stop()
            self._activity = activity
            label_column = TextColumn("{task.description:<12}")
            self._progress = Progress(label_column, BarColumn(), *columns(), console=self._console)
            self._progress.add_task(label, total=total)
            self._progress.start()
        task = self._progress.task_ids[0]
        self._progress.update(task, description=label, completed=done, total=total)

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _counted() -> Columns:
    return [CountColumn(), RateColumn(), TimeColumn()]


def _weighed() -> Columns:
    return [DownloadColumn(), TransferSpeedColumn()]


class CountColumn(ProgressColumn):
    """Done and total, with thousands marked."""

    def render(self, task: Task) -> Text:
        total = int(task.total or 0)
        return Text(f"{int(task.completed):>{len(f'{total:,}')},}/{total:,}")


class RateColumn(ProgressColumn):
    """Samples or files a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


class TimeColumn(ProgressColumn):
    """The time that is left, and at the end the time it took."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        if task.finished:
            return Text(f"in {clock(task.finished_time or 0.0)}", style="progress.elapsed")
        left = "--:--" if task.time_remaining is None else clock(task.time_remaining)
        return Text(f"ETA {left}", style="progress.remaining")


def clock(seconds: float) -> str:
    """`0:07`, `12:30`, `1:05:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
