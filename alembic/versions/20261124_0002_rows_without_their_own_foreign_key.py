"""sample rows without a foreign key of their own

PostgreSQL looked up the job once for each row: more than half of the time of a shard's insert. Rows
are written only in the transaction that marks their shard, and a shard names its job.

Revision: 0002, after 0001
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = "fk_samples_job_number_jobs"


def upgrade() -> None:
    with op.batch_alter_table("samples") as batch_op:
        batch_op.drop_constraint(KEY, type_="foreignkey")


def downgrade() -> None:
    with op.batch_alter_table("samples") as batch_op:
        batch_op.create_foreign_key(KEY, "jobs", ["job_number"], ["number"])
