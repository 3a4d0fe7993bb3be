"""The API inside the test's process, and what a request leaves behind in it."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from app.bootstrap import prepare
from app.db.session import create_engine, transaction
from app.db.tables import ApiKey, Tenant
from app.main import create_app
from app.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette would like its client to stand on httpx2
    from fastapi.testclient import TestClient


@dataclass
class Service:
    """The API without any worker: jobs stay queued."""

    client: TestClient
    settings: Settings
    database: sa.Engine
    key: str

    @property
    def dialect(self) -> str:
        """Name of the database."""
        return self.database.dialect.name

    def bearer(self, key: str | None = None) -> dict[str, str]:
        """The header that authorises."""
        return {"Authorization": f"Bearer {key or self.key}"}

    def add_tenant(self, name: str) -> str:
        """Another tenant; returns its key."""
        key = f"key-of-{name}"
        moment = datetime.now(UTC)
        with transaction(self.database) as session:
            session.add(Tenant(id=name, created_at=moment))
            session.flush()
            digest = hashlib.sha256(key.encode()).digest()
            session.add(ApiKey(tenant_id=name, name="test", digest=digest, created_at=moment))
        return key

    def traces(self) -> dict[str, object]:
        """Everything that a request could leave behind: each file's hash, each table's rows."""
        root = self.settings.data_dir
        traces: dict[str, object] = {}
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if ".db" not in name:
                content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
                traces[name] = content
        with self.database.connect() as connection:
            for schema, table in _tables(connection):
                count = sa.select(sa.func.count()).select_from(sa.table(table, schema=schema))
                traces[f"rows of {schema}.{table}"] = connection.execute(count).scalar_one()
        return traces


def _tables(connection: sa.Connection) -> list[tuple[str | None, str]]:
    inspector = sa.inspect(connection)
    schemas: list[str | None] = [None]
    if connection.dialect.name == "postgresql":
        schemas += ["dbos"]
    return [(schema, table) for schema in schemas for table in inspector.get_table_names(schema)]


@contextmanager
def opened(settings: Settings) -> Iterator[Service]:
    """The API with its lifespan, prepared as a first start would; authorised by default."""
    prepare(settings)
    key = (settings.data_dir / "api-key").read_text().strip()
    database = create_engine(settings.sqlalchemy_url)
    try:
        with TestClient(create_app(settings), raise_server_exceptions=False) as client:
            client.headers["Authorization"] = f"Bearer {key}"
            yield Service(client, settings, database, key)
    finally:
        database.dispose()
