"""The data folder: the name of its key, and one server to each."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import ConfigurationError
from app.settings import Settings

KEY_FILE = "api-key"


@contextmanager
def exclusive(settings: Settings) -> Iterator[None]:
    """Hold the data folder: two servers on one embedded database would fight over its workers.

    Raises ConfigurationError when another server holds it.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with (settings.data_dir / ".serve-lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(
                f"Another `synthloom serve` uses the data folder {settings.data_dir}. Stop it, or "
                "give this one a folder of its own with --data."
            ) from error
        yield
