"""The Python client of the service.

with Client("http://127.0.0.1:8008", api_key) as client:
    job = client.submit({"model": "fashion-cgan", "samples_per_class": {"bag": 200}})
    client.download(client.wait(job), "imagefolder", Path("bags.zip"))
"""

from __future__ import annotations

import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypedDict, TypeVar

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential,
    wait_random,
)

from app.client_answers import parsed, segment
from app.client_datasets import DatasetCalls
from app.client_download import Downloaded, OnBytes, download_archive
from app.client_errors import (
    JobCancelledError,
    JobFailedError,
    ServerUnreachableError,
    UnavailableError,
    problem_of,
)
from app.client_polling import until_ended
from app.client_replays import Redrawn, Replayed
from app.client_runs import Evaluation, RunCalls, Training
from app.client_types import (
    Answer,
    Classifier,
    ClassifierList,
    Estimate,
    Inspection,
    Job,
    JobPage,
    JobRequest,
    JobState,
    ManifestPage,
    Model,
    ModelList,
    ModelVersions,
    Readiness,
    Row,
)

DEFAULT_URL = "http://127.0.0.1:8008"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
UPLOAD_TIMEOUT_SECONDS = 600.0
LONGEST_PAUSE_SECONDS = 30.0

A = TypeVar("A", bound=Answer)
OnProgress = Callable[[Job], None]


class Client(DatasetCalls):
    """One service, one key. Not for several threads at a time; close it or use `with`.

    Broken connections and "try again later" answers are retried, at most `attempts` times
    within `retry_seconds`; every call is safe to repeat, because a submission always carries
    an idempotency key.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: str | None = None,
        *,
        timeout_seconds: float = 30.0,
        attempts: int = 10,
        retry_seconds: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = checked_url(url)
        self._sleep = sleep
        self._attempts = attempts
        self._retry_seconds = retry_seconds
        self._http = httpx.Client(
            base_url=self.url,
            headers={"User-Agent": "synthloom-client", **_authorization(api_key)},
            timeout=timeout_seconds,
            transport=transport,
            **connection_options(self.url),
        )
        self.trainings = RunCalls(self._send, self._sleep, Training, "trainings")
        self.evaluations = RunCalls(self._send, self._sleep, Evaluation, "evaluations")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    # Models

    def models(self) -> list[Model]:
        """Every registered model."""
        return self._answer(ModelList, "GET", "/v1/models").models

    def classifiers(self) -> list[Classifier]:
        """Those that can label what a model without classes draws."""
        return self._answer(ClassifierList, "GET", "/v1/classifiers").classifiers

    def model(self, name: str) -> Model:
        """One model, by `name` (its default version) or `name@version`."""
        return self._answer(Model, "GET", f"/v1/models/{segment(name)}")

    def preview(self, name: str) -> bytes:
        """A PNG contact sheet of the model, one class a row."""
        return self._send("GET", f"/v1/models/{segment(name)}/preview.png").content

    def inspect_model(self, path: Path, **fields: str) -> Inspection:
        """What a file of weights is, and what can't be told from it; nothing of it is kept.

        fields: `name`, `licence`, `tries` (how many ways to read it are drawn).
        """
        return self._upload(Inspection, "/v1/models/inspect", path, fields)

    def import_model(self, path: Path, **fields: str) -> Model:
        """Registers a file of weights; the same content again is the model that is there.

        fields: `spec` (JSON), or `name`, `version`, `licence` and `answers` (JSON);
        `accept_degenerate`. A file of `export_model` needs none.
        """
        return self._upload(Model, "/v1/models", path, fields)

    def versions(self, name: str) -> ModelVersions:
        """Every version of a model, the newest first, and which of them its name alone means."""
        return self._answer(ModelVersions, "GET", f"/v1/models/{segment(name)}/versions")

    def choose_version(self, name: str, version: str | None) -> ModelVersions:
        """Lets the name mean this version from now on; None: the newest, whichever that is."""
        path = f"/v1/models/{segment(name)}/default"
        if version is None:
            return self._answer(ModelVersions, "DELETE", path)
        return self._answer(ModelVersions, "PUT", path, json={"version": version})

    def delete_model(self, name: str) -> None:
        """Deletes `name@version`, or `name` where there is only one version.

        Raises `ConflictError` while a job that has not ended needs it.
        """
        self._send("DELETE", f"/v1/models/{segment(name)}")

    def export_model(self, name: str, path: Path, on_bytes: OnBytes | None = None) -> Downloaded:
        """Fetches a model as one file, which `import_model` gives to another service.

        As with `download`, the file appears once its SHA-256 is right.
        """
        url = f"/v1/models/{segment(name)}/export"
        return download_archive(self._http, self._retrying(), url, path, on_bytes)

    # Jobs

    def estimate(self, request: JobRequest) -> Estimate:
        """The plan of a job, its size and time, without running it."""
        return self._answer(Estimate, "POST", "/v1/jobs/estimate", json=dict(request))

    def submit(self, request: JobRequest, idempotency_key: str | None = None) -> Job:
        """Asks for samples. The same key with the same request gives the same job."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._answer(Job, "POST", "/v1/jobs", json=dict(request), headers=headers)

    def job(self, job: Job | str) -> Job:
        """The job as it is now."""
        return self._answer(Job, "GET", _job_path(job))

    def jobs(self, limit: int | None = None) -> Iterator[Job]:
        """Jobs, newest first, read page by page as they are taken."""
        left, after = limit, None
        while left is None or left > 0:
            query = {"limit": 100 if left is None else min(left, 100), "after": after}
            page = self._answer(JobPage, "GET", "/v1/jobs", params=_present(query))
            yield from page.jobs[:left]
            left = None if left is None else left - len(page.jobs)
            after = page.next
            if after is None:
                return

    def cancel(self, job: Job | str) -> Job:
        """Ends the job and discards its samples; again is harmless."""
        return self._answer(Job, "POST", f"{_job_path(job)}/cancel")

    def wait(
        self,
        job: Job | str,
        on_progress: OnProgress | None = None,
        timeout_seconds: float | None = None,
    ) -> Job:
        """Polls until the job has succeeded and returns it.

        Raises `JobFailedError` or `JobCancelledError` when it ends otherwise. Polls are quick
        at first, so that a small job is not slow, and then as far apart as the service asks.
        """
        path = _job_path(job)
        seen = until_ended(
            lambda headers: self._send("GET", path, headers=headers),
            lambda response: parsed(Job, response),
            self._sleep,
            on_progress,
            timeout_seconds,
            "job",
        )
        return _succeeded(seen)

    def manifest(
        self, job: Job | str, class_name: str | None = None, page_size: int = 1000
    ) -> Iterator[list[Row]]:
        """Pages of the manifest in the order of the samples, each read when it is taken."""
        after = None
        while True:
            query = {"limit": page_size, "after": after, "class": class_name}
            path = f"{_job_path(job)}/manifest"
            page = self._answer(ManifestPage, "GET", path, params=_present(query))
            if page.samples:
                yield page.samples
            after = page.next
            if after is None:
                return

    def download(
        self,
        job: Job | str,
        format: str,  # noqa: A002 - the service's word
        path: Path,
        on_bytes: OnBytes | None = None,
    ) -> Downloaded:
        """Fetches an archive to `path`, which appears only once its SHA-256 is right.

        A broken download leaves a hidden `.part` file beside `path`; the next call goes on
        from there.
        """
        url = f"{_job_path(job)}/archives/{segment(format)}"
        return download_archive(self._http, self._retrying(), url, path, on_bytes)

    def report(self, job: Job | str, form: str = "json") -> bytes:
        """The report of a job that has succeeded, or did not pass its gate: `json` or `html`."""
        return self._send("GET", f"{_job_path(job)}/report.{segment(form)}").content

    def job_preview(self, job: Job | str) -> bytes:
        """A PNG contact sheet of a job's samples, one class a row."""
        return self._send("GET", f"{_job_path(job)}/preview.png").content

    def croissant(self, job: Job | str) -> bytes:
        """The dataset of a job that has succeeded as Croissant 1.1: JSON-LD."""
        return self._send("GET", f"{_job_path(job)}/croissant.json").content

    def replay(self, job: Job | str, request: Mapping[str, Any] | None = None) -> Replayed:
        """Draws samples of a job again: `indices`, `samples` or `share`, and `seed`."""
        return self._answer(Replayed, "POST", f"{_job_path(job)}/replay", json=dict(request or {}))

    def redraw(self, request: Mapping[str, Any]) -> Redrawn:
        """Draws samples again by what a manifest and a dataset.json say of them."""
        return self._answer(Redrawn, "POST", "/v1/samples/redraw", json=dict(request))

    def interpolation(self, request: Mapping[str, Any]) -> bytes:
        """A PNG of what lies between seeds: `model`, `seeds`, `steps`, `classes` and more."""
        return self._send("POST", "/v1/samples/interpolation", json=dict(request)).content

    # The service

    def workers(self) -> int:
        """How many workers are there to run jobs."""
        return self._answer(Readiness, "GET", "/readyz").workers

    # Requests

    def _answer(self, kind: type[A], method: str, path: str, **options: Any) -> A:
        return parsed(kind, self._send(method, path, **options))

    def _upload(
        self, kind: type[A], route: str, path: Path, fields: dict[str, str], part: str = "weights"
    ) -> A:
        def send() -> httpx.Response:
            with path.open("rb") as file:
                return self._send_once(
                    "POST",
                    route,
                    files={part: (path.name, file)},
                    data=fields,
                    timeout=UPLOAD_TIMEOUT_SECONDS,
                )

        return parsed(kind, self._retrying()(send))

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._retrying()(self._send_once, method, path, **options)

    def _send_once(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.RequestError as error:
            raise ServerUnreachableError(self.url, reason_of(error)) from error
        if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
            return response
        raise problem_of(response)

    def _retrying(self) -> Retrying:
        return Retrying(
            sleep=self._sleep,
            stop=stop_after_attempt(self._attempts) | stop_after_delay(self._retry_seconds),
            wait=_pause,
            retry=retry_if_exception_type((ServerUnreachableError, UnavailableError)),
            reraise=True,
        )


def checked_url(url: str) -> str:
    """The address without a trailing slash, or a `ValueError` that says how one looks."""
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL:
        parsed = httpx.URL()
    readable = bool(parsed.host) and not set(parsed.host) & set("%[] ")
    if parsed.scheme not in ("http", "https") or not readable:
        raise ValueError(f"{url!r} is not an address; write it like {DEFAULT_URL}.")
    return str(parsed).rstrip("/")


class ConnectionOptions(TypedDict):
    """What httpx is told about an address."""

    verify: ssl.SSLContext | bool
    trust_env: bool


def connection_options(url: str) -> ConnectionOptions:
    """No certificates for http, which take 50 ms to load; no proxy on the way to this machine."""
    secure = url.startswith("https:")
    return {
        "verify": secure or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        "trust_env": httpx.URL(url).host not in LOOPBACK,
    }


def reason_of(error: httpx.RequestError) -> str:
    """A few words for a transport failure, without the library's class names."""
    if isinstance(error, httpx.TimeoutException):
        return "it took too long"
    return "connection refused" if isinstance(error, httpx.ConnectError) else "connection lost"


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, UnavailableError) else None
    if asked is not None:
        return min(asked, LONGEST_PAUSE_SECONDS)
    return wait_exponential(multiplier=0.1, max=5.0)(state) + wait_random(0.0, 0.1)(state)


def _authorization(api_key: str | None) -> dict[str, str]:
    if not api_key:
        return {}
    if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
        raise ValueError("The API key holds characters that no key has; check where it came from.")
    return {"Authorization": f"Bearer {api_key}"}


def _succeeded(job: Job) -> Job:
    if job.state is JobState.CANCELLED:
        raise JobCancelledError(job, f"Job {job.id} was cancelled; submit it again if it's needed.")
    if job.state is JobState.FAILED:
        detail = (job.problem or {}).get("detail") or "the service gave no reason."
        raise JobFailedError(job, f"Job {job.id} failed: {detail}")
    return job


def _job_path(job: Job | str) -> str:
    return f"/v1/jobs/{segment(job if isinstance(job, str) else job.id)}"


def _present(query: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in query.items() if value is not None}
