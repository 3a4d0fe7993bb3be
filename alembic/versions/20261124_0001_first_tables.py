"""first tables

Revision: 0001, the first one
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite numbers rows by INTEGER keys only."""


def upgrade() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=200), nullable=True),
        sa.Column("token", sa.String(length=100), nullable=True),
        sa.Column("pid", BIG, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", BIG, nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_api_keys_tenant_id_tenants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
    )
    op.create_table(
        "jobs",
        sa.Column("number", BIG, nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("formats", sa.JSON(), nullable=False),
        sa.Column("samples", BIG, nullable=False),
        sa.Column("shards", BIG, nullable=False),
        sa.Column("shard_window", BIG, nullable=False),
        sa.Column("samples_done", BIG, nullable=False),
        sa.Column("shards_done", BIG, nullable=False),
        sa.Column("refused", BIG, nullable=False),
        sa.Column("finalizations", BIG, nullable=False),
        sa.Column("problem", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("swept_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'failed') = (problem IS NOT NULL)", name=op.f("ck_jobs_problem")
        ),
        sa.CheckConstraint(
            "(state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)",
            name=op.f("ck_jobs_finished"),
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'finalizing', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_jobs_state"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('finalizing', 'succeeded') OR samples_done = samples",
            name=op.f("ck_jobs_exact"),
        ),
        sa.CheckConstraint(
            "samples >= 1 AND shards >= 1 AND shard_window >= 1", name=op.f("ck_jobs_size")
        ),
        sa.CheckConstraint("shards_done BETWEEN 0 AND shards", name=op.f("ck_jobs_shards_done")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_jobs_tenant_id_tenants")
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_jobs")),
        sa.UniqueConstraint("id", name=op.f("uq_jobs_id")),
        sa.UniqueConstraint(
            "tenant_id", "idempotency_key", name=op.f("uq_jobs_tenant_id_idempotency_key")
        ),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_jobs_state"), ["state"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_tenant_id"), ["tenant_id"], unique=False)

    op.create_table(
        "models",
        sa.Column("id", BIG, nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("weights_key", sa.String(length=200), nullable=False),
        sa.Column("preview_key", sa.String(length=200), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_models_tenant_id_tenants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint(
            "tenant_id", "name", "version", name=op.f("uq_models_tenant_id_name_version")
        ),
        sa.UniqueConstraint("tenant_id", "sha256", name=op.f("uq_models_tenant_id_sha256")),
    )
    op.create_table(
        "archives",
        sa.Column("job_number", BIG, autoincrement=False, nullable=False),
        sa.Column("format", sa.String(length=32), nullable=False),
        sa.Column("object_key", sa.String(length=200), nullable=False),
        sa.Column("bytes", BIG, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("entries", BIG, nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_number"], ["jobs.number"], name=op.f("fk_archives_job_number_jobs")
        ),
        sa.PrimaryKeyConstraint("job_number", "format", name=op.f("pk_archives")),
        sa.UniqueConstraint("object_key", name=op.f("uq_archives_object_key")),
    )
    op.create_table(
        "samples",
        sa.Column("job_number", BIG, autoincrement=False, nullable=False),
        sa.Column("index", BIG, autoincrement=False, nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("cell", sa.Integer(), nullable=False),
        sa.Column("candidate", BIG, nullable=False),
        sa.Column("offset", BIG, nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("file_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("pixel_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_number"], ["jobs.number"], name=op.f("fk_samples_job_number_jobs")
        ),
        sa.PrimaryKeyConstraint("job_number", "index", name=op.f("pk_samples")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "shards",
        sa.Column("job_number", BIG, autoincrement=False, nullable=False),
        sa.Column("index", BIG, autoincrement=False, nullable=False),
        sa.Column("token", sa.String(length=32), nullable=True),
        sa.Column("worker_id", sa.String(length=100), nullable=True),
        sa.Column("attempts", BIG, nullable=False),
        sa.Column("drawn", BIG, nullable=False),
        sa.Column("refused", BIG, nullable=False),
        sa.Column("object_key", sa.String(length=200), nullable=True),
        sa.Column("bytes", BIG, nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("environment", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(done_at IS NULL) = (sha256 IS NULL)", name=op.f("ck_shards_done")),
        sa.CheckConstraint(
            "done_at IS NULL OR object_key IS NOT NULL", name=op.f("ck_shards_file")
        ),
        sa.ForeignKeyConstraint(
            ["job_number"], ["jobs.number"], name=op.f("fk_shards_job_number_jobs")
        ),
        sa.PrimaryKeyConstraint("job_number", "index", name=op.f("pk_shards")),
        sa.UniqueConstraint("object_key", name=op.f("uq_shards_object_key")),
    )


def downgrade() -> None:
    op.drop_table("shards")
    op.drop_table("samples")
    op.drop_table("archives")
    op.drop_table("models")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_jobs_tenant_id"))
        batch_op.drop_index(batch_op.f("ix_jobs_state"))

    op.drop_table("jobs")
    op.drop_table("api_keys")
    op.drop_table("workers")
    op.drop_table("tenants")
