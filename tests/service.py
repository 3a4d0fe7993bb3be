"""The API inside the test's process, and what a request leaves behind in it."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.bootstrap import prepare
from app.db.session import create_engine, transaction
from app.db.tables import ApiKey, Tenant
from app.main import create_app
from app.settings import Settings
from tests.databases import fresh_in

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
    _digests: dict[object, str] = field(default_factory=dict)

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
                traces[name] = self._digest(path) if path.is_file() else ""
        with self.database.connect() as connection:
            rows = connection.execute(self._counts).one()
        return traces | dict(rows._mapping)

    def _digest(self, path: Path) -> str:
        """Of a file's content, which is read again when its owner or anything else has changed."""
        status = path.stat()
        seen = (path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if seen not in self._digests:
            self._digests[seen] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._digests[seen]

    @cached_property
    def _counts(self) -> sa.Select[Any]:
        """The rows of each table, ours and the engine's, in one statement."""
        inspector = sa.inspect(self.database)
        schemas = [None, "dbos"] if self.dialect == "postgresql" else [None]
        tables = [(s, name) for s in schemas for name in inspector.get_table_names(s)]
        return sa.select(
            *(
                sa.select(sa.func.count())
                .select_from(sa.table(name, schema=schema))
                .scalar_subquery()
                .label(f"rows of {schema}.{name}")
                for schema, name in tables
            )
        )


@contextmanager
def opened(settings: Settings) -> Iterator[Service]:
    """The API with its lifespan, prepared as a first start would; authorised by default."""
    fresh_in(settings)
    prepare(settings)
    key = (settings.data_dir / "api-key").read_text().strip()
    database = create_engine(settings.sqlalchemy_url)
    try:
        with TestClient(create_app(settings), raise_server_exceptions=False) as client:
            client.headers["Authorization"] = f"Bearer {key}"
            yield Service(client, settings, database, key)
    finally:
        database.dispose()
