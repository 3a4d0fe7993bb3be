"""where the rows of the real images are that a job is merged with

Revision: 0009, after 0008
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("real_rows_key", sa.String(200), nullable=True))
    op.add_column("jobs", sa.Column("real_rows_sha256", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "real_rows_sha256")
    op.drop_column("jobs", "real_rows_key")
