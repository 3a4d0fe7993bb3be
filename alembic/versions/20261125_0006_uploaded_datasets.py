"""uploaded datasets

Real images that a tenant brings: what was found in them, and where the file is.

Revision: 0006, after 0005
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("number", WHOLE, nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("survey", sa.JSON(), nullable=False),
        sa.Column("licence", sa.String(200), nullable=False),
        sa.Column("attribution", sa.Text(), nullable=False),
        sa.Column("file_key", sa.String(200), nullable=False),
        sa.Column("file_bytes", WHOLE, nullable=False),
        sa.Column("file_sha256", sa.String(64), nullable=False),
        sa.Column("preview_key", sa.String(200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name="fk_datasets_tenant_id_tenants"
        ),
        sa.PrimaryKeyConstraint("number", name="pk_datasets"),
        sa.UniqueConstraint("id", name="uq_datasets_id"),
        sa.UniqueConstraint("tenant_id", "name", name="uq_datasets_tenant_id_name"),
        sa.UniqueConstraint("tenant_id", "sha256", name="uq_datasets_tenant_id_sha256"),
    )


def downgrade() -> None:
    op.drop_table("datasets")
