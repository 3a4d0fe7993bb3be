"""What can go wrong between a client and the service; every message says what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from app.client_runs import Run
    from app.client_types import Job


class ClientError(Exception):
    """Root of the tree; `str()` is one sentence for a person."""


class ServerUnreachableError(ClientError):
    """Nothing answers at the address, or the connection broke and stayed broken."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"No Synthloom service answers at {url} ({reason}); start one with `synthloom serve` "
            "or give the address of one that runs."
        )
        self.url = url


class UnexpectedAnswerError(ClientError):
    """Something answered, but not as a Synthloom service does."""


class DownloadCorruptError(ClientError):
    """What arrived is not what the service said it would send."""


class NoSpaceError(ClientError):
    """The disk has no room for the file."""


class WaitTimeoutError(ClientError):
    """The job did not end within the time the caller gave it; it goes on without them."""


class JobEndedError(ClientError):
    """The job ended without a dataset; `job` tells the rest."""

    def __init__(self, job: Job, sentence: str) -> None:
        super().__init__(sentence)
        self.job = job


class JobFailedError(JobEndedError):
    """The job reached `failed`."""


class JobCancelledError(JobEndedError):
    """The job reached `cancelled`."""


class RunEndedError(ClientError):
    """A training or an evaluation ended otherwise than well; `run` tells the rest."""

    def __init__(self, run: Run, sentence: str) -> None:
        super().__init__(sentence)
        self.run = run


class RunFailedError(RunEndedError):
    """The run reached `failed`."""


class RunCancelledError(RunEndedError):
    """The run reached `cancelled`."""


class ApiProblemError(ClientError):
    """The service refused the request with an RFC 9457 body."""

    def __init__(self, status: int, problem: dict[str, Any], retry_after: float | None) -> None:
        detail = str(problem.get("detail") or problem.get("title") or f"HTTP status {status}")
        pointed = [_pointed(error) for error in problem.get("errors") or []]
        missing = [text for text in pointed if text and text not in detail]
        super().__init__(" ".join([detail, *missing]))
        self.status = status
        self.problem = problem
        self.retry_after = retry_after

    @property
    def slug(self) -> str:
        """The last part of the problem's type: `unknown-class`."""
        return str(self.problem.get("type", "")).rsplit("/", 1)[-1]


class UnauthorizedError(ApiProblemError):
    """401: no key, or not this service's."""


class NotFoundError(ApiProblemError):
    """404: no such model, job or file."""


class ConflictError(ApiProblemError):
    """409: not in the present state."""


class InvalidRequestError(ApiProblemError):
    """400 or 422: the request was read and refused."""


class UnavailableError(ApiProblemError):
    """429, 502, 503, 504: later perhaps; the client has tried again already."""


_BY_STATUS: dict[int, type[ApiProblemError]] = {
    400: InvalidRequestError,
    401: UnauthorizedError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidRequestError,
    429: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def problem_of(response: httpx.Response) -> ClientError:
    """The error that a refused and fully read response stands for."""
    status = response.status_code
    body = _json_object(response)
    error = _BY_STATUS.get(status, ApiProblemError)
    if body is None and error is not UnavailableError:
        return UnexpectedAnswerError(
            f"{response.request.url} answered with status {status} and no problem body; "
            "check that the address is that of a Synthloom service."
        )
    return error(status, body or {}, retry_after_of(response))


def retry_after_of(response: httpx.Response) -> float | None:
    """Seconds of the `Retry-After` header; dates are not understood and count as absent."""
    text = response.headers.get("Retry-After", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _json_object(response: httpx.Response) -> dict[str, Any] | None:
    if not response.headers.get("Content-Type", "").startswith(
        ("application/problem+json", "application/json")
    ):
        return None
    try:
        body = json.loads(response.content)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _pointed(error: object) -> str:
    if not isinstance(error, dict) or not error.get("detail"):
        return ""
    pointer = error.get("pointer")
    return f"({pointer}: {error['detail']})" if pointer else f"({error['detail']})"
