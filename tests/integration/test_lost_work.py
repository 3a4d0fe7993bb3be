"""Work that the engine's tables say a worker has, and that never arrived there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db.session import create_engine, transaction
from app.jobs.dispatch import QUEUE, Dispatcher
from app.jobs.lost import LostWork

SECONDS = 20.0
SHARD = "job_1-000007"


@pytest.fixture
def database(database_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def dispatcher(database: sa.Engine) -> Iterator[Dispatcher]:
    """With one shard that the worker `lively` took, as the database sees it."""
    dispatcher = Dispatcher(database)
    with transaction(database) as session:
        dispatcher.shard(session, "somebody", (1, "job_1"), 7)
        session.execute(_status(session).update().values(status="PENDING", executor_id="lively"))
    yield dispatcher
    dispatcher.close()


def test_what_never_arrived_is_queued_again_after_the_time_of_a_lease(
    database: sa.Engine, dispatcher: Dispatcher
) -> None:
    lost, taken = LostWork(SECONDS), dispatcher.running()["lively"]
    assert taken == {QUEUE: [SHARD]}
    assert lost.run_again(dispatcher, taken, frozenset(), moment=100.0) == []
    assert lost.run_again(dispatcher, taken, frozenset(), moment=119.9) == []
    assert lost.run_again(dispatcher, taken, frozenset(), moment=120.0) == [SHARD]
    assert dispatcher.running() == {}
    with transaction(database) as session:
        status = session.execute(sa.select(_status(session).c.status)).scalar_one()
    assert status == "ENQUEUED"


def test_what_is_being_run_is_left_alone(dispatcher: Dispatcher) -> None:
    lost, taken = LostWork(SECONDS), dispatcher.running()["lively"]
    for moment in (0.0, 100.0, 200.0):
        assert lost.run_again(dispatcher, taken, {SHARD}, moment) == []
    assert dispatcher.running() == {"lively": {QUEUE: [SHARD]}}


def test_what_arrives_late_counts_anew(dispatcher: Dispatcher) -> None:
    lost, taken = LostWork(SECONDS), dispatcher.running()["lively"]
    assert lost.run_again(dispatcher, taken, frozenset(), moment=0.0) == []
    assert lost.run_again(dispatcher, taken, {SHARD}, moment=19.0) == []
    assert lost.run_again(dispatcher, taken, frozenset(), moment=30.0) == []


def _status(session: Session) -> sa.Table:
    schema = None if session.get_bind().dialect.name == "sqlite" else "dbos"
    return sa.Table(
        "workflow_status",
        sa.MetaData(),
        sa.Column("status", sa.Text),
        sa.Column("executor_id", sa.Text),
        schema=schema,
    )
