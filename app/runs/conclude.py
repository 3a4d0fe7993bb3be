"""The last step of a run, by its worker: what its process left becomes the run's end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.db.tables import RunKind
from app.errors import GateFailedError, JobStoppedError
from app.imports.trying import Try
from app.jobs.work import WorkerContext
from app.runs import lifecycle, messages
from app.runs.lifecycle import Lease
from app.runs.registration import register_trained


def conclude(context: WorkerContext, try_model: Try, lease: Lease, folder: Path) -> None:
    """End the run by the words of its process.

    Raises JobStoppedError when it is no longer this attempt's, and what registering a model
    raises. Running it twice is harmless: the end of a run is noted once.
    """
    problem = messages.read(folder, messages.PROBLEM_FILE)
    result = messages.read(folder, messages.RESULT_FILE)
    if problem is not None:
        _note(context, lease, problem, result)
    elif lease.kind is RunKind.TRAINING:
        register_trained(context, try_model, lease, folder, result or {})
    else:
        _note(context, lease, _missed((result or {}).get("gate")), result)


def _note(
    context: WorkerContext,
    lease: Lease,
    problem: dict[str, Any] | None,
    result: dict[str, Any] | None,
) -> None:
    with context.transaction() as session:
        noted = (
            lifecycle.succeed(session, context.dispatcher, lease, result or {})
            if problem is None
            else lifecycle.fail(session, context.dispatcher, lease, problem, result)
        )
    if not noted:
        raise JobStoppedError("The run has ended, or another attempt has begun.")


def _missed(gate: dict[str, Any] | None) -> dict[str, Any] | None:
    """The problem of a gate that is not passed."""
    if gate is None or gate["passed"]:
        return None
    return GateFailedError(f"{gate['sentence']} The report is kept.", gate=gate).problem()
