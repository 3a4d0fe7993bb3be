"""`synthloom serve | worker | migrate`: the processes of the service."""

from __future__ import annotations

import logging
import os
import sys
import threading
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from app.arithmetic import repeat_products
from app.cli.failures import CommandError, ExitCode
from app.data_folder import exclusive
from app.errors import SynthloomError
from app.garbage import lasting
from app.parent import show_life, stop_with_parent
from app.settings import Settings

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def serve(
    data: Annotated[Path | None, typer.Option(help="folder of everything it keeps")] = None,
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="port; 0 takes a free one")] = None,
    workers: Annotated[int | None, typer.Option(help="worker processes to supervise")] = None,
    supervised: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Run the API and its workers until Ctrl-C. SYNTHLOOM_* variables set everything else."""
    # Not with the other commands: only this one needs a web server.
    from app.server import run_server

    settings = _settings(data_dir=data, host=host, port=port, workers=workers)
    _log_to_stderr()
    with _refusals(), ExitStack() as stack:
        if not settings.database_url:
            stack.enter_context(exclusive(settings))
        if supervised:
            stop_with_parent()
        run_server(settings)


def worker(
    data: Annotated[Path | None, typer.Option(help="folder of everything it keeps")] = None,
    name: Annotated[str | None, typer.Option(help="a name no other worker has")] = None,
    supervised: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Run one more worker for a service that shares its database and storage."""
    settings = _settings(data_dir=data)
    _log_to_stderr()
    with _refusals():
        may_begin: threading.Event | None = None
        if supervised:
            may_begin = stop_with_parent()
            show_life(settings.hang_seconds)
        # Before torch: its threads sleep while they wait for each other. Spinning, as is their
        # default, takes the processor from the encoders and the API, and then from themselves.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        repeat_products()
        # Only now, because it loads torch, which takes its time.
        with lasting():
            from app.worker import run_worker

        if may_begin is not None:
            may_begin.wait()
        run_worker(settings, name or f"{settings.worker_name}/{uuid.uuid4().hex[:12]}")


def migrate(
    data: Annotated[Path | None, typer.Option(help="folder of everything it keeps")] = None,
) -> None:
    """Bring the database to the schema of this version. `serve` does it at its start."""
    # Not with the other commands: the server is still to start its workers when it has read them.
    from app.bootstrap import prepare

    settings = _settings(data_dir=data)
    with _refusals():
        prepare(settings)
    typer.echo("The database has the schema of this version.")


class _refusals:  # noqa: N801 - used as a context manager, like contextlib's own
    """Turns a refusal to start into one line and exit code 2."""

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, SynthloomError):
            raise CommandError(error.detail, ExitCode.USAGE) from error


def _settings(**given: Any) -> Settings:
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CommandError(
            f"Setting SYNTHLOOM_{where.upper()} is not valid: {first['msg']}. Correct it in the "
            "environment, in .env or on the command line.",
            ExitCode.USAGE,
        ) from error
    return settings.model_copy(update={"data_dir": settings.data_dir.absolute()})


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    for chatty in ("uvicorn.error", "alembic", "httpx", "dbos"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
