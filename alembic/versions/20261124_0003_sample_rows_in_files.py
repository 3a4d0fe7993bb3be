"""sample rows in files

The rows of a very large job live in a Parquet file beside each shard. Jobs that are there already
keep theirs in the database.

Revision: 0003, after 0002
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # In words, as SQLite adds a constraint with its column or by making the table anew, and other
    # tables point at this one.
    op.execute(
        "ALTER TABLE jobs ADD COLUMN rows_in VARCHAR(16) DEFAULT 'database' NOT NULL"
        " CONSTRAINT ck_jobs_rows_in CHECK (rows_in IN ('database', 'parquet'))"
    )
    op.add_column("shards", sa.Column("rows_key", sa.String(length=200), nullable=True))
    op.add_column("shards", sa.Column("rows_bytes", BIG, nullable=True))
    op.execute(
        "ALTER TABLE shards ADD COLUMN rows_sha256 VARCHAR(64)"
        " CONSTRAINT ck_shards_rows CHECK ((rows_key IS NULL) = (rows_sha256 IS NULL))"
    )


def downgrade() -> None:
    in_files = sa.text("SELECT count(*) FROM jobs WHERE rows_in = 'parquet'")
    if op.get_bind().execute(in_files).scalar_one():
        raise RuntimeError("There are jobs whose rows are in files; older code can't find them.")
    for column in ("rows_sha256", "rows_bytes", "rows_key"):
        op.drop_column("shards", column)
    op.drop_column("jobs", "rows_in")
