"""Trainings and evaluations, from the client's side.

with Client("http://127.0.0.1:8008", api_key) as client:
    training = client.trainings.submit(
        {"architecture": "cgan", "dataset": "ds_…", "name": "digits", "minutes": 5}
    )
    print(client.trainings.wait(training).model)
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

import httpx
from pydantic import AliasChoices, Field

from app.client_answers import parsed, segment
from app.client_errors import RunCancelledError, RunFailedError
from app.client_polling import until_ended
from app.client_types import Answer


class RunState(StrEnum):
    """The states of a run; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """True when the run will not change any more."""
        return self in (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)


class RunProgress(Answer):
    """How far a run is; what is not known yet is None."""

    stage: str = ""
    done: float | None = None
    """0 to 1."""
    step: int | None = None
    steps: int | None = None
    seconds: float | None = None
    seconds_left: float | None = None
    losses: dict[str, float | None] = {}
    figures: dict[str, float | None] = {}
    warnings: list[str] = []


class Run(Answer):
    """What trainings and evaluations have in common."""

    kind: ClassVar[str] = "run"

    id: str
    state: RunState
    progress: RunProgress
    attempts: int = 0
    worker: str | None = None
    webhook: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None


class Training(Run):
    """A training. `model` is `name@version`, once it is registered."""

    kind: ClassVar[str] = "training"

    architecture: str
    dataset: str
    name: str
    config: dict[str, Any] = {}
    model: str | None = None
    model_sha256: str | None = None
    figures: dict[str, Any] = {}


class Evaluation(Run):
    """An evaluation. `result` is in the answer about one only."""

    kind: ClassVar[str] = "evaluation"

    subject: dict[str, Any]
    against: str
    options: dict[str, Any] = {}
    verdict: str | None = None
    warnings: list[str] = []
    gate: dict[str, Any] | None = None
    result: dict[str, Any] | None = None


Send = Callable[..., httpx.Response]
"""`send(method, path, **options)`: one request, tried again while the service is away."""


class _Page(Answer):
    """Runs of one kind, newest first; `next` is the token of the page after this one."""

    runs: list[dict[str, Any]] = Field(validation_alias=AliasChoices("trainings", "evaluations"))
    next: str | None = None


R = TypeVar("R", bound=Run)


class RunCalls(Generic[R]):
    """All that can be asked about one kind of run."""

    def __init__(
        self, send: Send, sleep: Callable[[float], None], kind: type[R], plural: str
    ) -> None:
        self._send = send
        self._sleep = sleep
        self._kind = kind
        self._plural = plural

    def submit(self, request: Mapping[str, Any], idempotency_key: str | None = None) -> R:
        """Ask for one. The same key with the same request gives the same one."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        path = f"/v1/{self._plural}"
        return self._parsed(self._send("POST", path, json=dict(request), headers=headers))

    def get(self, run: R | str) -> R:
        """The run as it is now."""
        return self._parsed(self._send("GET", self.path(run)))

    def list(self, limit: int | None = None) -> Iterator[R]:
        """Runs, newest first, read page by page as they are taken."""
        left, after = limit, None
        while left is None or left > 0:
            query: dict[str, Any] = {"limit": 100 if left is None else min(left, 100)}
            query |= {} if after is None else {"after": after}
            page = parsed(_Page, self._send("GET", f"/v1/{self._plural}", params=query))
            runs = [self._kind.model_validate(each) for each in page.runs]
            yield from runs[:left]
            left = None if left is None else left - len(runs)
            after = page.next
            if after is None:
                return

    def cancel(self, run: R | str) -> R:
        """End the run and discard what it has made; again is harmless."""
        return self._parsed(self._send("POST", f"{self.path(run)}/cancel"))

    def wait(
        self,
        run: R | str,
        on_progress: Callable[[R], None] | None = None,
        timeout_seconds: float | None = None,
    ) -> R:
        """Poll until the run has succeeded and return it.

        Raises `RunFailedError` or `RunCancelledError` when it ends otherwise.
        """
        path = self.path(run)
        seen = until_ended(
            lambda headers: self._send("GET", path, headers=headers),
            self._parsed,
            self._sleep,
            on_progress,
            timeout_seconds,
            self._kind.kind,
        )
        if seen.state is RunState.CANCELLED:
            raise RunCancelledError(seen, f"{self._named(seen)} was cancelled.")
        if seen.state is RunState.FAILED:
            detail = (seen.problem or {}).get("detail") or "the service gave no reason."
            raise RunFailedError(seen, f"{self._named(seen)} failed: {detail}")
        return seen

    def file(self, run: R | str, name: str) -> bytes:
        """A file of the run: `grid.png` or `curves` of a training, `report.html` or `report.json`
        of an evaluation."""
        return self._send("GET", f"{self.path(run)}/{name}").content

    def path(self, run: R | str) -> str:
        """Where the run is."""
        return f"/v1/{self._plural}/{segment(run if isinstance(run, str) else run.id)}"

    def _named(self, run: R) -> str:
        return f"{self._kind.kind.capitalize()} {run.id}"

    def _parsed(self, response: httpx.Response) -> R:
        return parsed(self._kind, response)
