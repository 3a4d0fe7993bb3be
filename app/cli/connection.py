"""Finds the service and the key that opens it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx
import typer
from pydantic import ValidationError

from app.cli.embedded import embedded_service, recorded_url, silence
from app.cli.failures import CommandError, ExitCode
from app.cli.terminal import say
from app.client import LOOPBACK, Client, checked_url
from app.client_errors import ServerUnreachableError, UnauthorizedError
from app.settings import Settings

ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        envvar="SYNTHLOOM_SERVER",
        help="Address of the service, like http://127.0.0.1:8008.",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="SYNTHLOOM_DATA_DIR",
        file_okay=False,
        help="Data folder of the service on this machine, where its address and its API key are.",
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        metavar="KEY",
        envvar="SYNTHLOOM_API_KEY",
        show_envvar=True,
        help="Key of the service; better given by the environment variable.",
    ),
]
WebhookOption = Annotated[
    str | None,
    typer.Option(
        "--webhook", metavar="URL", help="Who is told of the end of it, by a running service."
    ),
]


@dataclass(frozen=True)
class Whereabouts:
    """What the user said about the service."""

    server: str | None = None
    data: Path | None = None
    api_key: str | None = None


@contextmanager
def connected(where: Whereabouts, embed: bool = False) -> Iterator[Client]:
    """A client of the service that was named or found.

    With `embed`, a service is started for the time being when none was named and none is found.
    """
    settings = _settings()
    url = _found(where, settings)
    if url is None and embed:
        say("No service is running, so one is started for this command.")
        with (
            embedded_service(where.data) as running,
            Client(running.url, running.api_key) as client,
        ):
            yield client
    elif url is None:
        raise ServerUnreachableError(_default_url(settings), "connection refused")
    else:
        key, source = _key(where, url, settings)
        with _client(url, key) as client:
            try:
                yield client
            except UnauthorizedError as error:
                raise CommandError(
                    f"{error} The key came from {source}; another can be given by "
                    "SYNTHLOOM_API_KEY.",
                    ExitCode.USAGE,
                ) from error


def found(where: Whereabouts) -> str | None:
    """The address of the service that was named, or that answers without having been named."""
    return _found(where, _settings())


def _found(where: Whereabouts, settings: Settings) -> str | None:
    """The address named, else what the data folder says, else the usual one if it answers."""
    if where.server is not None:
        try:
            url = checked_url(where.server)
        except ValueError as error:
            raise CommandError(str(error), ExitCode.USAGE) from error
        if reason := silence(url):
            raise ServerUnreachableError(url, reason)
        return url
    candidates = [recorded_url(where.data or settings.data_dir), _default_url(settings)]
    return next((url for url in candidates if url is not None and not silence(url)), None)


def _default_url(settings: Settings) -> str:
    host = settings.host if settings.host not in ("0.0.0.0", "::", "") else "127.0.0.1"  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port or 8008}"


def _key(where: Whereabouts, url: str, settings: Settings) -> tuple[str, str]:
    """The key and where it came from. A folder's key never leaves this machine unasked."""
    if where.api_key:
        return where.api_key.strip(), "--api-key or SYNTHLOOM_API_KEY"
    if where.data is None and httpx.URL(url).host not in LOOPBACK:
        raise CommandError(
            f"{url} needs an API key; put it into the environment variable SYNTHLOOM_API_KEY.",
            ExitCode.USAGE,
        )
    file = (where.data or settings.data_dir) / "api-key"
    try:
        return file.read_text().strip(), str(file)
    except (OSError, ValueError) as error:
        raise CommandError(
            f"No API key: {file} can't be read. Name the service's data folder with --data, or "
            "put the key into SYNTHLOOM_API_KEY.",
            ExitCode.USAGE,
        ) from error


def _client(url: str, key: str) -> Client:
    try:
        return Client(url, key)
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from error


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise CommandError(
            f"The setting SYNTHLOOM_{name} is not valid: {first['msg']}.", ExitCode.USAGE
        ) from error
