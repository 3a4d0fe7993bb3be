"""From a recipe to a folder that holds its result: nothing is done that has been done."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from app.cli.delivery import awaited, put_in_place, unpacked
from app.cli.failures import CommandError, ExitCode, InterruptedByUserError
from app.cli.job_reports import GATE_FAILED, gate_rows
from app.cli.progress import Reporter
from app.cli.real_data import dataset_for
from app.cli.recipe_contents import Contents, OfService
from app.cli.recipe_summary import SHEET, report_in
from app.client import Client
from app.client_errors import ClientError, JobFailedError
from app.client_types import Job, JobRequest, JobState
from app.datasets.members import CHECKSUMS
from app.datasets.unpack import is_dataset
from app.datasets.verify import verify
from app.recipes.lock import Lock, LockedDataset
from app.recipes.recipe import (
    ReadRecipe,
    content_sha256,
    place_at,
    recipe_sha256,
    seed_of,
    sha256_of,
)

WORK_FOLDER = ".synthloom"
"""In the folder of the results: downloads that are not whole yet."""
REPORTS = {"report.html": "html", "report.json": "json"}
MOST_TRIES = 100


@dataclass(frozen=True)
class Result:
    """What a folder holds now."""

    folder: Path
    recipe: Path
    lock: Lock
    up_to_date: bool
    """Whether there was nothing to do."""
    fetched: tuple[str, ...] = ()
    """Formats that were brought this time."""
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether there is a dataset."""
        return self.lock.outcome == "succeeded"

    @property
    def verdict(self) -> str:
        """The first line of the report."""
        return str(self.report.get("verdict") or "")

    def gate_rows(self) -> list[tuple[str, str, str, str]]:
        """Condition, value, whether it holds, note; none without a gate."""
        return gate_rows(self.report.get("gate"))

    def lines(self) -> list[str]:
        """What happened, for a person."""
        formats = ", ".join(self.lock.datasets)
        said = [self.verdict] if self.verdict else []
        if not self.passed:
            return [*said, f"The report is {self.folder / 'report.html'}."]
        if self.up_to_date:
            return [*said, f"{self.folder} is up to date with the recipe: nothing was generated."]
        return [*said, f"{self.folder} holds {formats}; every file is verified."]


def carry_out(
    client: Client, read: ReadRecipe, folder: Path, reporter: Reporter, again: bool
) -> Result:
    """Bring the folder to what the recipe says. Raises CommandError and ClientError."""
    pinned = pinned_by(read, OfService(client))
    digest = recipe_sha256(read, pinned)
    lock = None if again else _lock_of(folder, digest)
    if lock is not None and _is_whole(folder, lock, reporter):
        return Result(folder, read.path, lock, True, report=report_in(folder))
    request = _request(client, read, digest)
    job, key = _job(client, request, digest, lock, again, reporter)
    return _Delivery(client, read, folder, reporter, lock).bring(job, key, digest, pinned)


def what_is_there(
    contents: Contents, read: ReadRecipe, folder: Path, reporter: Reporter
) -> Result | None:
    """The result of a folder that holds what the recipe says; None when there is work to do."""
    try:
        digest = recipe_sha256(read, pinned_by(read, contents))
    except LookupError:
        return None
    lock = _lock_of(folder, digest)
    if lock is None or not _is_whole(folder, lock, reporter):
        return None
    return Result(folder, read.path, lock, True, report=report_in(folder))


def pinned_by(read: ReadRecipe, contents: Contents) -> dict[str, str]:
    """What the recipe names → SHA-256 of its content."""
    found = {f"model {name}": contents.model(name) for name in read.models}
    mentioned = read.mentions(contents.classifiers())
    found |= {f"classifier {name}": sha256 for name, sha256 in mentioned.items()}
    for place, value in read.datasets():
        path = read.local(value)
        content = contents.dataset(value) if path is None else content_sha256(path)
        found[f"dataset {'.'.join(place)}"] = content
    return found


def _lock_of(folder: Path, digest: str) -> Lock | None:
    lock = Lock.read(folder)
    return lock if lock is not None and lock.recipe_sha256 == digest else None


def _is_whole(folder: Path, lock: Lock, reporter: Reporter) -> bool:
    """Whether all that the lock names is there and right, file by file."""
    files = all(_sha256(folder / name) == sha256 for name, sha256 in lock.files.items())
    return files and all(
        _is_right(folder / name, locked, reporter) for name, locked in lock.datasets.items()
    )


def _is_right(folder: Path, locked: LockedDataset, reporter: Reporter) -> bool:
    if _sha256(folder / CHECKSUMS) != locked.sums_sha256:
        return False
    found = verify(folder)
    reporter.files("Checked", found.files, found.files)
    return found.ok


def _request(client: Client, read: ReadRecipe, digest: str) -> JobRequest:
    """The body of the submission: real images are brought to the service, the seed is set."""
    body = read.body
    for place, value in read.datasets():
        path = read.local(value)
        if path is not None:
            place_at(body, place, dataset_for(client, path))
    body.setdefault("seed", seed_of(digest))
    body.setdefault("formats", ["imagefolder"])
    return cast("JobRequest", body)


def _job(
    client: Client,
    request: JobRequest,
    digest: str,
    lock: Lock | None,
    again: bool,
    reporter: Reporter,
) -> tuple[Job, str]:
    """The job of the recipe, when it has ended, and its key.

    The key follows from the recipe, so a run that was killed finds its job again. A job that
    failed or was cancelled is not the answer for ever: the next key in the row is tried.
    """
    base = f"augment-{sha256_of([digest, dict(request)])[:40]}"
    if again:
        base += f"-{secrets.token_hex(4)}"
    key = base if lock is None else lock.key
    for number in range(1, MOST_TRIES):
        try:
            job = client.submit(request, key)
            if job.state not in (JobState.FAILED, JobState.CANCELLED) or _gate_failed(job):
                reporter.job(job)
                return _ended(client, job, reporter), key
        except KeyboardInterrupt as interrupt:
            raise InterruptedByUserError(_cancelled(client, request, key)) from interrupt
        key = f"{base}-{number}"
    raise CommandError(f"The recipe's job failed {MOST_TRIES} times; see `synthloom jobs list`.")


def _ended(client: Client, job: Job, reporter: Reporter) -> Job:
    try:
        return awaited(client, job, reporter)
    except JobFailedError as error:
        if _gate_failed(error.job):
            return error.job
        raise


def _cancelled(client: Client, request: JobRequest, key: str) -> str:
    try:
        job = client.cancel(client.submit(request, key))
    except ClientError as error:
        return f"Interrupted, but the job could not be cancelled: {error}"
    return f"Interrupted; job {job.id} is {job.state.value}."


def _gate_failed(job: Job) -> bool:
    problem = job.problem or {}
    return str(problem.get("type", "")).endswith(f"/{GATE_FAILED}")


@dataclass
class _Delivery:
    """Brings what a job has made into the folder, and keeps of it what is there already."""

    client: Client
    read: ReadRecipe
    folder: Path
    reporter: Reporter
    before: Lock | None

    def bring(self, job: Job, key: str, digest: str, pinned: Mapping[str, str]) -> Result:
        """The lock is written last: without it, nothing in the folder is trusted."""
        passed = not _gate_failed(job)
        fetched, datasets = [], {}
        for form in job.formats if passed else []:
            found = self._kept(job, form)
            if found is None:
                found = self._fetched(job, form)
                fetched.append(form)
            datasets[form] = found
        lock = Lock(
            recipe_sha256=digest,
            pinned=pinned,
            job=job.id,
            key=key,
            outcome="succeeded" if passed else "gate-failed",
            detail="" if passed else str((job.problem or {}).get("detail", "")),
            seed=job.seed,
            samples_per_class=job.samples_per_class,
            datasets=datasets,
            files=self._files(job),
        )
        self._remove_what_is_old(lock)
        lock.write(self.folder)
        shutil.rmtree(self.folder / WORK_FOLDER, ignore_errors=True)
        report = report_in(self.folder)
        return Result(self.folder, self.read.path, lock, False, tuple(fetched), report)

    def _kept(self, job: Job, form: str) -> LockedDataset | None:
        """What is there already, if it is this job's and right."""
        locked = self.before.datasets.get(form) if self.before is not None else None
        archive = job.archive(form)
        if locked is None or archive is None or locked.archive_sha256 != archive.sha256:
            return None
        return locked if _is_right(self.folder / form, locked, self.reporter) else None

    def _fetched(self, job: Job, form: str) -> LockedDataset:
        target = self.folder / form
        if target.exists() and not is_dataset(target):
            raise CommandError(
                f"{target} is something else than a dataset and is not replaced; name another "
                "folder with --out.",
                ExitCode.USAGE,
            )
        work = self.folder / WORK_FOLDER
        work.mkdir(exist_ok=True)
        # Under a name that stays, so that the next run goes on with a download that broke.
        archive, fresh = work / f"{form}.archive", work / form
        done = self.client.download(job, form, archive, self.reporter.received)
        shutil.rmtree(fresh, ignore_errors=True)
        unpacked(job, form, archive, fresh, self.reporter)
        shutil.rmtree(work / "replaced", ignore_errors=True)
        put_in_place(fresh, target, work / "replaced")
        archive.unlink()
        sums = _sha256(target / CHECKSUMS) or ""
        return LockedDataset(archive_bytes=done.bytes, archive_sha256=done.sha256, sums_sha256=sums)

    def _files(self, job: Job) -> dict[str, str]:
        """The report, and the contact sheet of a dataset."""
        written: dict[str, bytes] = {}
        if job.report is not None:
            written |= {name: self.client.report(job, form) for name, form in REPORTS.items()}
        if job.state is JobState.SUCCEEDED:
            written[SHEET] = self.client.job_preview(job)
        for name, content in written.items():
            (self.folder / name).write_bytes(content)
        return {name: hashlib.sha256(content).hexdigest() for name, content in written.items()}

    def _remove_what_is_old(self, lock: Lock) -> None:
        """Datasets that an earlier recipe made here and this one does not have."""
        old = Lock.read(self.folder)
        for form in set(old.datasets if old is not None else ()) - set(lock.datasets):
            if is_dataset(self.folder / form):
                shutil.rmtree(self.folder / form)
        for name in set(old.files if old is not None else ()) - set(lock.files):
            (self.folder / name).unlink(missing_ok=True)


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
