"""From what went wrong to an exit code and one sentence on stderr."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperGroup

from app.cli.terminal import fail
from app.client_errors import (
    ApiProblemError,
    ClientError,
    DownloadCorruptError,
    InvalidRequestError,
    NotFoundError,
    ServerUnreachableError,
    UnauthorizedError,
    UnavailableError,
)
from app.datasets.members import DamagedError
from app.errors import SynthloomError


class ExitCode(IntEnum):
    """What a script or a CI step can tell apart."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    UNVERIFIED = 4
    GATE = 5
    INTERRUPTED = 130


class CommandError(Exception):
    """A command can't go on; `str()` is the sentence."""

    def __init__(self, sentence: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(sentence)
        self.code = code


class InterruptedByUserError(CommandError):
    """Ctrl-C; the sentence says what became of the job."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, ExitCode.INTERRUPTED)


_CODES: list[tuple[type[Exception], ExitCode]] = [
    (UnauthorizedError, ExitCode.USAGE),
    (NotFoundError, ExitCode.USAGE),
    (InvalidRequestError, ExitCode.USAGE),
    (UnavailableError, ExitCode.UNREACHABLE),
    (ApiProblemError, ExitCode.FAILED),
    (ServerUnreachableError, ExitCode.UNREACHABLE),
    (DownloadCorruptError, ExitCode.UNVERIFIED),
    (DamagedError, ExitCode.UNVERIFIED),
    (ClientError, ExitCode.FAILED),
    (SynthloomError, ExitCode.FAILED),
    (OSError, ExitCode.FAILED),
]


class Commands(TyperGroup):
    """The top of the command tree: expected failures end here, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            fail("Interrupted.")
            raise typer.Exit(ExitCode.INTERRUPTED) from error
        except BrokenPipeError:
            raise
        except CommandError as error:
            fail(str(error))
            raise typer.Exit(error.code) from error
        except tuple(kind for kind, _ in _CODES) as error:
            fail(_sentence(error))
            raise typer.Exit(code_of(error)) from error


def code_of(error: Exception) -> ExitCode:
    """The exit code of an expected failure."""
    return next(code for kind, code in _CODES if isinstance(error, kind))


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, ClientError):
        reason = error.strerror or str(error)
        return f"{error.filename}: {reason}." if error.filename else f"{reason}."
    return str(error)
