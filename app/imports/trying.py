"""Whether an assembled checkpoint runs, and what it looks like."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from app.datasets.contact_sheet import contact_sheet
from app.errors import ModelDegenerateError, ModelRefusedError
from app.storage import LocalStorage
from app.wire import Tried
from models.files import weights_file
from models.importing.assemble import Assembled
from models.probing.report import Finding, ProbeReport
from models.spec import ModelSpec

SHEET_COLUMNS = 8
SHEET_ROWS = 24
_CHUNK = 1 << 20

Try = Callable[[ModelSpec, str], Tried]
"""Asks a worker: spec, key of the weights in storage."""


class Trial(NamedTuple):
    """What a worker found, and a contact sheet of what it drew (PNG)."""

    report: ProbeReport
    preview: bytes


def tried(storage: LocalStorage, ask: Try, made: Assembled) -> Trial:
    """Have a worker try a checkpoint; nothing of it stays in storage."""
    with _staged(storage, made) as key:
        return seen(ask(made.spec, key))


def seen(answer: Tried) -> Trial:
    """What a worker answered, looked at."""
    report = ProbeReport.model_validate(answer.report)
    rows = [
        (name, list(images[:SHEET_COLUMNS]))
        for name, images in zip(answer.names[:SHEET_ROWS], answer.images, strict=False)
    ]
    return Trial(report, contact_sheet(rows))


def check(report: ProbeReport, accept_degenerate: bool) -> None:
    """Raises ModelRefusedError or ModelDegenerateError for what must not be registered."""
    if report.refused:
        raise ModelRefusedError(_said(report.refused), findings=_listed(report.refused))
    if report.degenerate and not accept_degenerate:
        raise ModelDegenerateError(
            f"{_said(report.degenerate)} Register it all the same with accept_degenerate.",
            findings=_listed(report.degenerate),
        )


@contextmanager
def _staged(storage: LocalStorage, made: Assembled) -> Iterator[str]:
    key = f"uploads/{secrets.token_hex(8)}/{weights_file(made.spec)}"
    try:
        with storage.create(key) as writer, made.weights.open("rb") as file:
            while chunk := file.read(_CHUNK):
                writer.write(chunk)
        yield key
    finally:
        storage.delete(key)


def _said(findings: tuple[Finding, ...]) -> str:
    return " ".join(finding.detail for finding in findings)


def _listed(findings: tuple[Finding, ...]) -> list[dict[str, str]]:
    return [finding.model_dump(mode="json", exclude={"severity"}) for finding in findings]
