"""What a process loads at its start is never garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting() -> Iterator[None]:
    """What is made in this block, imported modules above all, stays until the process ends.

    The collector would look through all of it every few imports, which is a tenth of the processor
    time of a start, and through what is there afterwards at each of its full rounds.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
