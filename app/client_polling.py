"""Waiting for something that ends: quick looks at first, then as far apart as the service asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import httpx

from app.client_errors import WaitTimeoutError, retry_after_of

FIRST_POLL_SECONDS = 0.05
POLL_GROWTH = 1.5
SLOWEST_POLL_SECONDS = 1.0
LONGEST_POLL_SECONDS = 30.0


class State(Protocol):
    """A state, as far as waiting looks at it."""

    @property
    def terminal(self) -> bool:
        """True when nothing will change any more."""


class Ends(Protocol):
    """What can be waited for."""

    @property
    def state(self) -> State:
        """Where it is now."""


E = TypeVar("E", bound=Ends)
Look = Callable[[dict[str, str]], httpx.Response]
"""Asks for it, with these headers."""


def until_ended(
    look: Look,
    parse: Callable[[httpx.Response], E],
    sleep: Callable[[float], None],
    on_progress: Callable[[E], None] | None,
    timeout_seconds: float | None,
    called: str,
) -> E:
    """Look until it has ended, and return it.

    called: what it is, for the sentence of the WaitTimeoutError.
    """
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    pause, etag = FIRST_POLL_SECONDS, ""
    while True:
        response = look({"If-None-Match": etag} if etag else {})
        if response.status_code != httpx.codes.NOT_MODIFIED:
            seen = parse(response)
            etag = response.headers.get("ETag", "")
            if on_progress is not None:
                on_progress(seen)
            if seen.state.terminal:
                return seen
        if deadline is not None and time.monotonic() + pause > deadline:
            raise WaitTimeoutError(
                f"The {called} has not ended within {timeout_seconds:g} s; it goes on, so ask "
                "for it again later."
            )
        sleep(pause)
        slowest = retry_after_of(response) or SLOWEST_POLL_SECONDS
        pause = min(pause * POLL_GROWTH, slowest, LONGEST_POLL_SECONDS)
