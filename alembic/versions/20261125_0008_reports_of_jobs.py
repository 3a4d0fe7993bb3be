"""reports of jobs, and what must hold of them

Shards say what their work took, and why candidates were refused.

Revision: 0008, after 0007
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "job_reports",
        sa.Column("job_number", INTEGER, autoincrement=False, nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("gate", sa.JSON(), nullable=True),
        sa.Column("json_key", sa.String(200), nullable=False),
        sa.Column("json_bytes", INTEGER, nullable=False),
        sa.Column("json_sha256", sa.String(64), nullable=False),
        sa.Column("html_key", sa.String(200), nullable=False),
        sa.Column("html_bytes", INTEGER, nullable=False),
        sa.Column("html_sha256", sa.String(64), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_number"], ["jobs.number"], name="fk_job_reports_job_number_jobs"
        ),
        sa.PrimaryKeyConstraint("job_number", name="pk_job_reports"),
        sa.UniqueConstraint("json_key", name="uq_job_reports_json_key"),
        sa.UniqueConstraint("html_key", name="uq_job_reports_html_key"),
    )
    op.add_column("jobs", sa.Column("report_asked", sa.JSON(), nullable=True))
    op.add_column("jobs", sa.Column("gate", sa.JSON(), nullable=True))
    op.add_column("shards", sa.Column("work", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("shards", "work")
    op.drop_column("jobs", "gate")
    op.drop_column("jobs", "report_asked")
    op.drop_table("job_reports")
