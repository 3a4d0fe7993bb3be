"""Runs the migrations on the connection it is given, or on the database of the settings."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import context
from app.db.session import create_engine
from app.db.tables import Base
from app.settings import Settings

OURS = set(Base.metadata.tables) | {"alembic_version"}


def include_name(name: str | None, type_: str, _parents: object) -> bool:
    """Leave the durable engine's tables alone."""
    return type_ != "table" or name in OURS


def run(connection: sa.Connection) -> None:
    """Migrate in one transaction; SQLite alters a table by making it anew."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # its driver begins none before DDL
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        include_name=include_name,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with create_engine(Settings().sqlalchemy_url).connect() as own:
        run(own)
        own.commit()
