"""who is told of the end of a job, and what came of it

Revision: 0011, after 0010
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("webhook", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "webhook")
