"""From a request to a verified folder: submit, wait, download, unpack, verify, put in place."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from app.cli.failures import CommandError, ExitCode, InterruptedByUserError
from app.cli.progress import Reporter, reason_to_wait
from app.client import Client
from app.client_errors import ClientError, WaitTimeoutError
from app.client_types import Job, JobRequest
from app.datasets.unpack import is_dataset, unpack
from app.datasets.verify import Verification, verify

SHOWN_PROBLEMS = 3
UNSUSPICIOUS_SECONDS = 3.0
"""A job may be queued that long before it is asked whether there is a worker at all."""


@dataclass(frozen=True)
class Delivery:
    """A dataset that is where it was asked for."""

    job: Job
    verification: Verification
    folder: Path
    archive: Path | None
    job_seconds: float
    seconds: float

    @property
    def generation_seconds(self) -> float:
        """From the job's start to its archive, without the time it waited for a worker."""
        if self.job.started is None or self.job.finished is None:
            return self.job_seconds
        return (self.job.finished - self.job.started).total_seconds()

    @property
    def samples_per_second(self) -> float:
        """While the job ran."""
        return self.job.samples / max(self.generation_seconds, 1e-3)

    def class_rows(self) -> list[tuple[str, int, int]]:
        """Class, asked, delivered."""
        delivered = self.verification.delivered
        return [
            (name, asked, delivered.get(name, 0))
            for name, asked in self.job.samples_per_class.items()
        ]


def checked_target(folder: Path, replace: bool) -> Path:
    """The folder as an absolute path, when a dataset may be put there."""
    target = folder.resolve()
    ancestor = next(parent for parent in target.parents if parent.exists())
    if not ancestor.is_dir() or not os.access(ancestor, os.W_OK | os.X_OK):
        raise CommandError(
            f"Nothing can be written to {ancestor}; name a folder somewhere else.", ExitCode.USAGE
        )
    if target == Path.cwd() or target in Path.cwd().parents:
        raise CommandError(
            f"{folder} is the current folder or one above it; name a new folder inside it.",
            ExitCode.USAGE,
        )
    if target.exists() and not target.is_dir():
        raise CommandError(f"{folder} is a file; name a folder.", ExitCode.USAGE)
    if target.is_dir() and any(target.iterdir()):
        if not replace:
            raise CommandError(
                f"{folder} is not empty; name another folder, or replace it with --force.",
                ExitCode.USAGE,
            )
        if not is_dataset(target):
            raise CommandError(
                f"{folder} holds something else than a dataset and is not replaced; name "
                "another folder.",
                ExitCode.USAGE,
            )
    return target


def deliver(
    client: Client, request: JobRequest, target: Path, reporter: Reporter, keep_archive: bool
) -> Delivery:
    """Runs the job and puts its dataset at `target`; on any failure `target` stays as it was."""
    started = time.monotonic()
    job = _completed(client, request, reporter)
    job_seconds = time.monotonic() - started
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as staging:
        archive, folder = Path(staging) / "archive.zip", Path(staging) / "dataset"
        client.download(job, job.formats[0], archive, reporter.received)
        verification = unpacked(job, job.formats[0], archive, folder, reporter)
        put_in_place(folder, target, Path(staging) / "replaced")
        kept = _keep(archive, target) if keep_archive else None
    seconds = time.monotonic() - started
    return Delivery(job, verification, target, kept, job_seconds, seconds)


def _completed(client: Client, request: JobRequest, reporter: Reporter) -> Job:
    key = str(uuid.uuid4())
    try:
        job = client.submit(request, key)
        reporter.job(job)
        return awaited(client, job, reporter)
    except KeyboardInterrupt as interrupt:
        raise InterruptedByUserError(_cancelled(client, request, key)) from interrupt


def awaited(client: Client, job: Job, reporter: Reporter) -> Job:
    """The job, when it has succeeded; the reporter is told what it waits for, and what is wrong
    with models of it."""
    for warning in job.warnings:
        reporter.hint(warning)
    with contextlib.suppress(WaitTimeoutError):
        return client.wait(job, reporter.job, UNSUSPICIOUS_SECONDS)
    reason = reason_to_wait(client, client.job(job))
    if reason is not None:
        reporter.hint(reason)
    return client.wait(job, reporter.job)


def _cancelled(client: Client, request: JobRequest, key: str) -> str:
    """Cancels the job of this key, even if its submission was cut short by the interrupt."""
    try:
        job = client.cancel(client.submit(request, key))
    except ClientError as error:
        return f"Interrupted, but the job could not be cancelled: {error}"
    return f"Interrupted; job {job.id} is {job.state.value} and nothing was written."


def unpacked(job: Job, form: str, archive: Path, folder: Path, reporter: Reporter) -> Verification:
    """The dataset of an archive in a new folder. Raises CommandError when it is not right."""
    offered = job.archive(form)
    expected = offered.entries if offered is not None else job.samples + 2
    count = unpack(archive, folder, lambda done: reporter.files("Unpacked", done, expected))
    reporter.files("Unpacked", count, count)
    verification = verify(folder, lambda done: reporter.files("Verified", done, count))
    if verification.asked != job.samples_per_class:
        verification.report("The dataset describes other quotas than the job asked for.")
    if not verification.ok:
        raise CommandError(
            f"The dataset of job {job.id} is not right and was discarded: "
            f"{' '.join(verification.problems[:SHOWN_PROBLEMS])} Submit the job again.",
            ExitCode.UNVERIFIED,
        )
    return verification


def put_in_place(folder: Path, target: Path, replaced: Path) -> None:
    """Let a new folder take the place of what is at `target`, which goes to `replaced`."""
    if target.exists():
        target.rename(replaced)
    try:
        folder.rename(target)
    except OSError:
        with contextlib.suppress(OSError):
            replaced.rename(target)
        raise


def _keep(archive: Path, target: Path) -> Path:
    return archive.replace(target.with_name(f"{target.name}.zip"))
