"""trainings and evaluations

Long work of one piece: one table for both kinds.

Revision: 0007, after 0006
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
OPTIONAL = sa.JSON(none_as_null=True)


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("number", BIG, nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("needs", sa.JSON(), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("result", OPTIONAL, nullable=True),
        sa.Column("problem", OPTIONAL, nullable=True),
        sa.Column("attempts", BIG, nullable=False),
        sa.Column("stops", BIG, nullable=False),
        sa.Column("token", sa.String(length=32), nullable=True),
        sa.Column("worker_id", sa.String(length=100), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("swept_at", MOMENT, nullable=True),
        sa.CheckConstraint("kind IN ('training', 'evaluation')", name=op.f("ck_runs_kind")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_runs_state"),
        ),
        sa.CheckConstraint(
            "(state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)",
            name=op.f("ck_runs_finished"),
        ),
        sa.CheckConstraint(
            "(state = 'failed') = (problem IS NOT NULL)", name=op.f("ck_runs_problem")
        ),
        sa.CheckConstraint(
            "state <> 'succeeded' OR result IS NOT NULL", name=op.f("ck_runs_result")
        ),
        sa.CheckConstraint(
            "state <> 'running' OR (token IS NOT NULL AND started_at IS NOT NULL)",
            name=op.f("ck_runs_attempt"),
        ),
        sa.CheckConstraint("stops BETWEEN 0 AND attempts", name=op.f("ck_runs_stops")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_runs_tenant_id_tenants")
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_runs")),
        sa.UniqueConstraint("id", name=op.f("uq_runs_id")),
        sa.UniqueConstraint(
            "tenant_id", "idempotency_key", name=op.f("uq_runs_tenant_id_idempotency_key")
        ),
    )
    op.create_index(op.f("ix_runs_state"), "runs", ["state"])
    op.create_index(op.f("ix_runs_tenant_id"), "runs", ["tenant_id"])


def downgrade() -> None:
    op.drop_table("runs")
