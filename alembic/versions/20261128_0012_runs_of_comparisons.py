"""how often the comparison of a job's shards was begun

Revision: 0012, after 0011
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("comparisons", BIG, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("jobs", "comparisons")
