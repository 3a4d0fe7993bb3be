"""Runs: their states, what survives a kill, who may speak for one, what stays when it has ended."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from app.db.tables import DEFAULT_TENANT, Run
from app.deletion import runs_needing
from app.errors import NotCancellableError
from app.runs import lifecycle
from app.runs.sweep import remove_orphans
from tests.databases import DIALECTS, fresh_postgres, fresh_sqlite
from tests.harness import children_of, wait_for
from tests.local_runs import LocalRuns

KEPT = {"child.log", "evaluation/evaluation.json"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRuns]:
    """On SQLite, with real processes."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        local = LocalRuns(folder, fresh_sqlite(folder), patch, hang_seconds=1.0)
        yield local
        local.close()


@pytest.fixture(scope="module", params=DIALECTS)
def ledger(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalRuns]:
    """On each database, for what needs no process."""
    folder = tmp_path_factory.mktemp("ledger")
    url = fresh_sqlite(folder)
    if request.param == "postgresql":
        url = fresh_postgres(request.getfixturevalue("postgres_url"))
    with pytest.MonkeyPatch.context() as patch:
        local = LocalRuns(folder, url, patch)
        yield local
        local.close()


# Attempts and their processes


def test_a_run_succeeds_and_keeps_what_it_shows(runs: LocalRuns) -> None:
    run = runs.submit(steps=3)
    runs.carry_out(run)
    ended = runs.now(run)
    assert (ended.state, ended.attempts, ended.problem) == ("succeeded", 1, None)
    assert ended.result == {"counted": 3, "begun": 0, "gate": None}
    assert (ended.progress["stage"], ended.progress["done"]) == ("counting", 1.0)
    assert ended.started_at is not None
    assert run.id in runs.sweep()
    assert runs.files(run) == KEPT
    runs.carry_out(run)  # the engine may run it again
    assert runs.now(run).attempts == 1


def test_a_killed_process_is_gone_on_with_from_where_it_was(runs: LocalRuns) -> None:
    run = runs.submit(steps=6, kill_at=4)
    runs.carry_out(run)
    ended = runs.now(run)
    assert (ended.state, ended.attempts) == ("succeeded", 2)
    assert ended.result is not None
    assert (ended.result["counted"], ended.result["begun"]) == (6, 3)
    runs.sweep()
    assert runs.files(run) == KEPT
    assert len(list(runs.storage.path(f"runs/{run.id}").iterdir())) == 1


def test_a_run_that_always_ends_its_process_fails_with_a_sentence(runs: LocalRuns) -> None:
    run = runs.submit(steps=3, always_kill_at=2)
    runs.carry_out(run)
    ended = runs.now(run)
    assert ended.state == "failed"
    assert ended.problem is not None
    assert ended.problem["type"] == "/problems/run-gave-up"
    assert "3 times" in ended.problem["detail"]
    runs.sweep()
    assert runs.files(run) <= KEPT


def test_an_error_becomes_the_problem(runs: LocalRuns) -> None:
    run = runs.submit(steps=3, fail_at=2)
    runs.carry_out(run)
    ended = runs.now(run)
    assert (ended.state, ended.attempts) == ("failed", 1)
    assert ended.problem is not None
    assert ended.problem["detail"] == "Step broke. Ask for fewer."


def test_a_gate_that_is_not_passed_fails_the_run_and_keeps_its_result(runs: LocalRuns) -> None:
    gate = {"passed": False, "sentence": "The gate is not passed: kid<=0, but it is 1."}
    run = runs.submit(steps=1, gate=gate)
    runs.carry_out(run)
    ended = runs.now(run)
    assert ended.state == "failed"
    assert ended.problem is not None
    assert ended.problem["type"] == "/problems/gate-failed"
    assert ended.result is not None
    assert ended.result["gate"] == gate
    runs.sweep()
    assert runs.files(run) == KEPT


def test_a_process_that_hangs_is_killed_and_gone_on_with(runs: LocalRuns) -> None:
    run = runs.submit(steps=4, hang_at=3)
    runs.carry_out(run)
    ended = runs.now(run)
    assert (ended.state, ended.attempts) == ("succeeded", 2)
    assert ended.result is not None
    assert ended.result["begun"] == 2


def test_a_worker_that_stops_leaves_a_checkpoint_and_counts_no_attempt(runs: LocalRuns) -> None:
    before = children_of(os.getpid())  # such as a database's server
    run = runs.submit(steps=10_000, pause=0.01)
    for stops in range(1, 3):
        with runs.carrying_out(run):
            runs.counted(run, 2 * stops)
            runs.context.stopping.set()
        assert (runs.now(run).state, runs.now(run).stops) == ("running", stops)
        assert children_of(os.getpid()) == before
        runs.context.stopping.clear()
    with runs.carrying_out(run):
        step = runs.now(run).progress["step"]
        assert runs.counted(run, step + 1).attempts == 3
        runs.cancel(run)


@pytest.mark.parametrize("stage", ["queued", "running"])
def test_a_cancelled_run_leaves_nothing(runs: LocalRuns, stage: str) -> None:
    before = children_of(os.getpid())
    run = runs.submit(steps=10_000, pause=0.01)
    if stage == "running":
        with runs.carrying_out(run):
            runs.counted(run, 2)
            runs.cancel(run)
    else:
        runs.cancel(run)
        runs.carry_out(run)
    assert runs.now(run).state == "cancelled"
    assert children_of(os.getpid()) == before
    assert run.id in runs.sweep()
    assert not runs.storage.path(f"runs/{run.id}").exists()
    runs.cancel(run)  # again is harmless


def test_the_process_ends_with_its_worker(runs: LocalRuns) -> None:
    """Which closes its socket, as the kernel does after kill -9."""
    from app.runs import messages
    from app.runs.process import Child

    run = runs.submit(steps=10_000, pause=0.01)
    lease = runs.begin(run)
    assert lease is not None
    folder = runs.storage.path(lease.folder)
    folder.mkdir(parents=True)
    messages.write(folder, messages.WORK_FILE, {"kind": "counting", **lease.request})
    child = Child(folder, 1, 60.0, module="tests.small_child")
    wait_for("a step", lambda: messages.progress_in(folder))
    child._ours.close()
    assert child.wait(20)
    assert child.code == messages.STOPPED_EXIT_CODE


def test_an_attempt_that_was_taken_over_changes_nothing(runs: LocalRuns) -> None:
    run = runs.submit(steps=10_000, pause=0.01)
    with runs.carrying_out(run):
        runs.counted(run, 2)
        taken = runs.begin(run)
    assert taken is not None
    found = runs.now(run)
    assert (found.state, found.token, found.attempts) == ("running", taken.token, 2)


# The ledger


def test_only_the_attempt_that_began_last_may_speak(ledger: LocalRuns) -> None:
    run = ledger.submit(steps=1)
    first, second = ledger.begin(run, "first"), ledger.begin(run, "second")
    assert first is not None
    assert second is not None
    with ledger.context.transaction() as session:
        assert not lifecycle.is_held(session, first)
        assert not lifecycle.hold(session, first)
        assert not lifecycle.report(session, first, {"step": 9})
        assert not lifecycle.succeed(session, ledger.context.dispatcher, first, {})
        assert not lifecycle.fail(session, ledger.context.dispatcher, first, {"detail": "no"})
        lifecycle.stop(session, first)
    found = ledger.now(run)
    assert (found.state, found.progress, found.stops) == ("running", {}, 0)
    assert found.worker_id == "second"
    with ledger.context.transaction() as session:
        assert lifecycle.hold(session, second)
        assert lifecycle.succeed(session, ledger.context.dispatcher, second, {"figure": 1})
    assert ledger.begin(run) is None


def test_attempts_that_were_stopped_do_not_count(ledger: LocalRuns) -> None:
    run = ledger.submit(steps=1)
    for _ in range(5):
        lease = ledger.begin(run)
        assert lease is not None
        with ledger.context.transaction() as session:
            lifecycle.stop(session, lease)
    for _ in range(3):
        assert ledger.begin(run) is not None
    assert ledger.begin(run) is None
    ended = ledger.now(run)
    assert (ended.state, ended.attempts, ended.stops) == ("failed", 9, 5)


def test_a_run_that_has_ended_is_not_cancelled(ledger: LocalRuns) -> None:
    run = ledger.submit(steps=1)
    lease = ledger.begin(run)
    assert lease is not None
    with ledger.context.transaction() as session:
        assert lifecycle.succeed(session, ledger.context.dispatcher, lease, {})
    with pytest.raises(NotCancellableError, match="succeeded already"):
        ledger.cancel(run)
    assert ledger.now(run).state == "succeeded"


def test_what_a_live_run_needs_is_known_until_it_ends(ledger: LocalRuns) -> None:
    def needing(what: str) -> list[str]:
        with ledger.context.transaction() as session:
            return runs_needing(session, DEFAULT_TENANT, what)

    run = ledger.submit(needs="ds_needed", steps=1)
    assert needing("ds_needed") == [run.id]
    assert needing("ds_unknown") == []
    ledger.cancel(run)
    assert needing("ds_needed") == []


def test_a_submission_is_one_transaction_with_its_place_in_the_queue(ledger: LocalRuns) -> None:
    run = ledger.submit("key", steps=1)
    with pytest.raises(IntegrityError):
        ledger.submit("key", steps=1)
    with ledger.context.transaction() as session:
        same_key = sa.select(sa.func.count()).where(Run.idempotency_key == "key")
        assert session.execute(same_key).scalar_one() == 1
        table = ledger.workflows
        mine = table.c.workflow_uuid == f"{run.id}-run"
        queued = sa.select(table.c.queue_name).where(mine)
        assert session.execute(queued).scalars().all() == ["runs"]


@pytest.mark.parametrize(
    "change",
    [
        {"state": "succeeded"},
        {"state": "failed"},
        {"state": "running"},
        {"problem": {"detail": "but not failed"}},
        {"kind": "walking"},
        {"stops": 1},
    ],
    ids=str,
)
def test_what_must_not_be_is_refused_by_the_database(
    ledger: LocalRuns, change: dict[str, object]
) -> None:
    run = ledger.submit(steps=1)
    with pytest.raises(IntegrityError), ledger.context.transaction() as session:
        session.execute(sa.update(Run).where(Run.number == run.number).values(**change))


def test_files_that_come_after_the_sweep_are_removed(ledger: LocalRuns) -> None:
    run, other = ledger.submit(steps=1), ledger.submit(steps=1)
    ledger.cancel(run)
    assert run.id in ledger.sweep()
    for each in (run, other):
        late = ledger.storage.path(f"runs/{each.id}/0001-late/state")
        late.parent.mkdir(parents=True)
        late.write_bytes(b"late")
    remove_orphans(ledger.context.transaction, ledger.storage)
    assert ledger.files(run) == set()
    assert ledger.files(other) == {"state"}
