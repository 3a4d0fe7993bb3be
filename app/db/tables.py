"""The tables. What must not happen is refused by the database: states, counts, one file a shard."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from app.db.timestamps import UtcDateTime

DEFAULT_TENANT = "default"


class JobState(StrEnum):
    """States of a job; the last three are terminal."""

    QUEUED = "queued"
    """Accepted; no shard has begun."""
    RUNNING = "running"
    """At least one shard has begun."""
    FINALIZING = "finalizing"
    """Every shard is stored; archives are being built."""
    SUCCEEDED = "succeeded"
    """Exactly N samples, archives verified by size and hash."""
    FAILED = "failed"
    """Ended by a problem, which the job carries."""
    CANCELLED = "cancelled"
    """Ended by its owner; files are swept."""


TERMINAL = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
LIVE = (JobState.QUEUED, JobState.RUNNING, JobState.FINALIZING)


class RunKind(StrEnum):
    """What a run does."""

    TRAINING = "training"
    """Learns a model from a dataset."""
    EVALUATION = "evaluation"
    """Measures samples against real images."""


class RunState(StrEnum):
    """States of a run; the last three are terminal."""

    QUEUED = "queued"
    """Accepted; no attempt has begun."""
    RUNNING = "running"
    """An attempt has begun."""
    SUCCEEDED = "succeeded"
    """It has a result; of a training, the model is registered."""
    FAILED = "failed"
    """Ended by a problem, which the run carries."""
    CANCELLED = "cancelled"
    """Ended by its owner; files are swept."""


TERMINAL_RUN = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)
LIVE_RUN = (RunState.QUEUED, RunState.RUNNING)


class RowsIn(StrEnum):
    """Where the sample rows of a job are; chosen when it is submitted."""

    DATABASE = "database"
    """In the table `samples`."""
    PARQUET = "parquet"
    """In a file beside each shard, which the shard's row names."""


class Base(DeclarativeBase):
    """Declarative base with named constraints, so that migrations can name them too."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: UtcDateTime(),
        dict[str, Any]: sa.JSON(),
        list[str]: sa.JSON(),
        int: sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
        bytes: sa.LargeBinary(),
    }


def _states(*states: StrEnum) -> str:
    return ", ".join(f"'{state.value}'" for state in states)


class Tenant(Base):
    """Owner of every other row."""

    __tablename__ = "tenants"
    id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    created_at: Mapped[datetime]


class ApiKey(Base):
    """A key, by its SHA-256: the key itself is never stored."""

    __tablename__ = "api_keys"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(sa.String(100))
    digest: Mapped[bytes] = mapped_column(sa.LargeBinary(32), unique=True)
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class Model(Base):
    """A registered generator: immutable, identified by its content."""

    __tablename__ = "models"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "name", "version"),
        sa.UniqueConstraint("tenant_id", "sha256"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(sa.String(64))
    version: Mapped[str] = mapped_column(sa.String(32))
    sha256: Mapped[str] = mapped_column(sa.String(64))
    spec: Mapped[dict[str, Any]]
    weights_key: Mapped[str] = mapped_column(sa.String(200))
    preview_key: Mapped[str | None] = mapped_column(sa.String(200))
    probe: Mapped[dict[str, Any] | None]
    """What was measured when it was imported."""
    created_at: Mapped[datetime]
    chosen_at: Mapped[datetime | None]
    """When its owner made it the version that its name means. Of several, the last one counts;
    where there is none, the newest version."""


class Dataset(Base):
    """Real images that a tenant has uploaded: immutable, identified by their content."""

    __tablename__ = "datasets"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "name"),
        sa.UniqueConstraint("tenant_id", "sha256"),
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), unique=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(sa.String(64))
    sha256: Mapped[str] = mapped_column(sa.String(64))
    """Of the pixels, classes, groups and splits; not of the file."""
    survey: Mapped[dict[str, Any]]
    """What was found: a `models.corpus.survey.Survey`."""
    licence: Mapped[str] = mapped_column(sa.String(200))
    attribution: Mapped[str] = mapped_column(sa.Text)
    file_key: Mapped[str] = mapped_column(sa.String(200))
    """The file as it was uploaded."""
    file_bytes: Mapped[int]
    file_sha256: Mapped[str] = mapped_column(sa.String(64))
    preview_key: Mapped[str] = mapped_column(sa.String(200))
    created_at: Mapped[datetime]


class Job(Base):
    """A request for samples, its plan and its progress. State is written by `lifecycle` only."""

    __tablename__ = "jobs"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "idempotency_key"),
        sa.CheckConstraint(f"state IN ({_states(*JobState)})", name="state"),
        sa.CheckConstraint(
            f"(state IN ({_states(*TERMINAL)})) = (finished_at IS NOT NULL)", name="finished"
        ),
        sa.CheckConstraint("(state = 'failed') = (problem IS NOT NULL)", name="problem"),
        sa.CheckConstraint("samples >= 1 AND shards >= 1 AND shard_window >= 1", name="size"),
        sa.CheckConstraint("shards_done BETWEEN 0 AND shards", name="shards_done"),
        sa.CheckConstraint(
            "state NOT IN ('finalizing', 'succeeded') OR samples_done = samples", name="exact"
        ),
        sa.CheckConstraint("rows_in IN ('database', 'parquet')", name="rows_in"),
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), unique=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"), index=True)
    state: Mapped[str] = mapped_column(sa.String(16), index=True)
    plan: Mapped[dict[str, Any]]
    formats: Mapped[list[Any]] = mapped_column(sa.JSON())
    """Names, and objects where options were chosen (`app/jobs/formats.py`)."""
    samples: Mapped[int]
    shards: Mapped[int]
    shard_window: Mapped[int]
    """Shards on the queue at a time. Kept here: one that changed on the way would leave gaps."""
    samples_done: Mapped[int] = mapped_column(default=0)
    shards_done: Mapped[int] = mapped_column(default=0)
    refused: Mapped[int] = mapped_column(default=0)
    refusals: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    """Reason → candidates of the shards that are done, where any was refused."""
    finalizations: Mapped[int] = mapped_column(default=0)
    """Runs of the last step: one that ends its workers must not go on for ever."""
    comparisons: Mapped[int] = mapped_column(default=0, server_default="0")
    """Runs of the comparison that is due, for the same reason; each that is written starts anew."""
    rows_in: Mapped[str] = mapped_column(sa.String(16), server_default="database")
    """A `RowsIn`. Kept here: a setting that changed on the way must not part a job's rows."""
    report_asked: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    """What its report shall measure beside the job itself: an `AskedReport`."""
    gate: Mapped[list[str] | None] = mapped_column(sa.JSON(none_as_null=True))
    """Conditions that its report has to meet, as expressions."""
    real_rows_key: Mapped[str | None] = mapped_column(sa.String(200))
    """The Parquet file of the rows of its real images, where it is merged with a real dataset."""
    real_rows_sha256: Mapped[str | None] = mapped_column(sa.String(64))
    webhook: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    """Who is told of its end, and what came of it: a `WebhookView`."""
    problem: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    idempotency_key: Mapped[str | None] = mapped_column(sa.String(255))
    fingerprint: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    swept_at: Mapped[datetime | None]
    """When the job's unreferenced files and engine rows were removed, after its end."""

    archives: Mapped[list[Archive]] = relationship(lazy="raise", order_by="Archive.format")
    report: Mapped[JobReport | None] = relationship(lazy="raise")


class Shard(Base):
    """One unit of work. `token` names the run that may commit; another run's commit is void."""

    __tablename__ = "shards"
    __table_args__ = (
        sa.CheckConstraint("(done_at IS NULL) = (sha256 IS NULL)", name="done"),
        sa.CheckConstraint("done_at IS NULL OR object_key IS NOT NULL", name="file"),
        sa.CheckConstraint("(rows_key IS NULL) = (rows_sha256 IS NULL)", name="rows"),
    )
    job_number: Mapped[int] = mapped_column(
        sa.ForeignKey("jobs.number"), primary_key=True, autoincrement=False
    )
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    token: Mapped[str | None] = mapped_column(sa.String(32))
    worker_id: Mapped[str | None] = mapped_column(sa.String(100))
    attempts: Mapped[int] = mapped_column(default=0)
    drawn: Mapped[int] = mapped_column(default=0)
    """Samples accepted so far by the current run: progress, not a promise."""
    refused: Mapped[int] = mapped_column(default=0)
    object_key: Mapped[str | None] = mapped_column(sa.String(200), unique=True)
    bytes: Mapped[int | None]
    sha256: Mapped[str | None] = mapped_column(sa.String(64))
    rows_key: Mapped[str | None] = mapped_column(sa.String(200))
    """The Parquet file of the shard's sample rows, where they are not in the database."""
    rows_bytes: Mapped[int | None]
    rows_sha256: Mapped[str | None] = mapped_column(sa.String(64))
    seconds: Mapped[float | None]
    environment: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    work: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    """Seconds by kind of work, and refused candidates by reason."""
    done_at: Mapped[datetime | None]


NOT_STORED: dict[str, None] = dict.fromkeys(
    ("done_at", "sha256", "object_key", "bytes", "rows_key", "rows_sha256", "rows_bytes")
)
"""Columns of a shard whose file is not there: not yet, or not any more."""


class Sample(Base):
    """One image of a dataset: a row of the manifest.

    What follows from the job, the plan or the shard (class name, model hash, seed, size, file
    name, time) is not repeated here; `app.datasets.manifest` puts a full row together.

    No foreign key: PostgreSQL would look the job up once for each row, which took more than half of
    an insert. The transaction that inserts rows holds their job and marks their shard, which has
    the key.
    """

    __tablename__ = "samples"
    __table_args__ = {"sqlite_with_rowid": False}
    job_number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    shard: Mapped[int] = mapped_column(sa.Integer)
    cell: Mapped[int] = mapped_column(sa.Integer)
    """Position in the plan's cells: class, model, condition."""
    candidate: Mapped[int]
    """Number of the latent in the shard's stream for this model."""
    offset: Mapped[int]
    """Where the image's bytes begin in the shard file."""
    length: Mapped[int] = mapped_column(sa.Integer)
    file_sha256: Mapped[bytes] = mapped_column(sa.LargeBinary(32))
    pixel_sha256: Mapped[bytes] = mapped_column(sa.LargeBinary(32))


class Archive(Base):
    """A downloadable rendering of a job's dataset in one format."""

    __tablename__ = "archives"
    job_number: Mapped[int] = mapped_column(
        sa.ForeignKey("jobs.number"), primary_key=True, autoincrement=False
    )
    format: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    object_key: Mapped[str] = mapped_column(sa.String(200), unique=True)
    bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(sa.String(64))
    entries: Mapped[int]
    seconds: Mapped[float]
    created_at: Mapped[datetime]


class Run(Base):
    """A training or an evaluation: one long piece of work. State is written by `app.runs.lifecycle`
    only. `token` names the attempt that may speak for it; what another one says is void."""

    __tablename__ = "runs"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "idempotency_key"),
        sa.CheckConstraint(f"kind IN ({_states(*RunKind)})", name="kind"),
        sa.CheckConstraint(f"state IN ({_states(*RunState)})", name="state"),
        sa.CheckConstraint(
            f"(state IN ({_states(*TERMINAL_RUN)})) = (finished_at IS NOT NULL)", name="finished"
        ),
        sa.CheckConstraint("(state = 'failed') = (problem IS NOT NULL)", name="problem"),
        sa.CheckConstraint("state <> 'succeeded' OR result IS NOT NULL", name="result"),
        sa.CheckConstraint(
            "state <> 'running' OR (token IS NOT NULL AND started_at IS NOT NULL)", name="attempt"
        ),
        sa.CheckConstraint("stops BETWEEN 0 AND attempts", name="stops"),
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), unique=True)
    tenant_id: Mapped[str] = mapped_column(sa.ForeignKey("tenants.id"), index=True)
    kind: Mapped[str] = mapped_column(sa.String(16))
    state: Mapped[str] = mapped_column(sa.String(16), index=True)
    request: Mapped[dict[str, Any]]
    needs: Mapped[list[str]]
    """Ids of datasets and jobs, and SHA-256 of models, that must stay until it has ended."""
    progress: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    """Of a failed run: what was found out before."""
    problem: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    webhook: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    """Who is told of its end, and what came of it: a `WebhookView`."""
    attempts: Mapped[int] = mapped_column(default=0)
    """Times it was begun. Never counted down: the folders of attempts are numbered by it."""
    stops: Mapped[int] = mapped_column(default=0)
    """Attempts that ended because their worker was told to stop: no fault of the run."""
    token: Mapped[str | None] = mapped_column(sa.String(32))
    worker_id: Mapped[str | None] = mapped_column(sa.String(100))
    idempotency_key: Mapped[str | None] = mapped_column(sa.String(255))
    fingerprint: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    swept_at: Mapped[datetime | None]
    """When the files that do not stay and the engine rows were removed, after its end."""


class JobReport(Base):
    """The report of a job, as JSON and as HTML. It stays when the job's gate was not passed."""

    __tablename__ = "job_reports"
    job_number: Mapped[int] = mapped_column(
        sa.ForeignKey("jobs.number"), primary_key=True, autoincrement=False
    )
    verdict: Mapped[str] = mapped_column(sa.Text)
    gate: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    """A `GateOutcome`, where the job has a gate."""
    json_key: Mapped[str] = mapped_column(sa.String(200), unique=True)
    json_bytes: Mapped[int]
    json_sha256: Mapped[str] = mapped_column(sa.String(64))
    html_key: Mapped[str] = mapped_column(sa.String(200), unique=True)
    html_bytes: Mapped[int]
    html_sha256: Mapped[str] = mapped_column(sa.String(64))
    seconds: Mapped[float]
    created_at: Mapped[datetime]


class Worker(Base):
    """A worker process that says it is alive."""

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    device: Mapped[str] = mapped_column(sa.String(64))
    address: Mapped[str | None] = mapped_column(sa.String(200))
    """Where it answers requests that somebody waits for."""
    token: Mapped[str | None] = mapped_column(sa.String(100))
    """What it wants to be shown there; made anew by every process."""
    pid: Mapped[int]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
