"""Work that a worker has taken without ever hearing of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from app.jobs.dispatch import Dispatcher

log = logging.getLogger(__name__)


class LostWork:
    """What the engine has one worker running, while the worker knows nothing of it.

    A database that dies between a commit and its answer leaves that behind: the work is taken in
    the database's eyes, and the worker believes that it got none. It lives, so nobody takes over.
    """

    def __init__(self, seconds: float) -> None:
        """seconds: how long work may be on its way from the queue to the worker's hands."""
        self._seconds = seconds
        self._since: dict[str, float] = {}

    def run_again(
        self,
        dispatcher: Dispatcher,
        taken: Mapping[str, Sequence[str]],
        in_hand: AbstractSet[str],
        moment: float | None = None,
    ) -> list[str]:
        """Queue it again once it was seen for long enough; returns the ids of the workflows.

        taken: queue → workflows of this worker. in_hand: those that it runs, read after `taken`.
        One that has ended meanwhile, or begins after all, does nothing the second time.
        moment: of a monotonic clock.
        """
        moment = time.monotonic() if moment is None else moment
        not_in_hand = {
            name: queue for queue, names in taken.items() for name in names if name not in in_hand
        }
        self._since = {name: self._since.get(name, moment) for name in not_in_hand}
        lost = [name for name, since in self._since.items() if moment - since >= self._seconds]
        for name in lost:
            log.warning("%s was taken, but never arrived here; it is queued again", name)
            dispatcher.run_again([name], not_in_hand[name])
            del self._since[name]
        return lost
