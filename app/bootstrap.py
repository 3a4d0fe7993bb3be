"""What a first start makes: folder, schema, default tenant, its key, the shipped models."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app import catalogue
from app.data_folder import KEY_FILE
from app.db.migrate import migrate, one_at_a_time
from app.db.session import create_engine, now, transaction
from app.db.tables import DEFAULT_TENANT, ApiKey, Tenant
from app.errors import ConfigurationError
from app.settings import Settings
from app.storage import LocalStorage

WEBHOOK_SECRET_FILE = "webhook-secret"  # noqa: S105 - the name of a file


def prepare(settings: Settings) -> None:
    """Make everything that a start needs; what is there already is left as it is."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    migrate(settings.sqlalchemy_url)
    key = _api_key(settings)
    secret = settings.data_dir / WEBHOOK_SECRET_FILE
    if settings.webhook_secret is None and not secret.exists():
        _write_once(secret, f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}")
    database = create_engine(settings.sqlalchemy_url)
    storage = LocalStorage(settings.objects_dir)
    try:
        with one_at_a_time(database):
            with transaction(database) as session:
                _ensure_tenant(session)
                _ensure_key(session, key)
            with transaction(database) as session:
                catalogue.register_shipped(session, storage, DEFAULT_TENANT)
    finally:
        database.dispose()


def _api_key(settings: Settings) -> str:
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    path = settings.data_dir / KEY_FILE
    if path.exists():
        key = path.read_text().strip()
        if not key:
            raise ConfigurationError(f"{path} is empty. Delete it, and a new key is written.")
        return key
    return _write_once(path, f"sl_{secrets.token_urlsafe(32)}")


def _write_once(path: Path, key: str) -> str:
    """Write a new key, whole or not at all. Of two starts at once, both go on with one key."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{key}\n")
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(part, path)
    part.unlink()
    return path.read_text().strip()


def _ensure_tenant(session: Session) -> None:
    if session.get(Tenant, DEFAULT_TENANT) is None:
        session.add(Tenant(id=DEFAULT_TENANT, created_at=now(session)))
        session.flush()


def _ensure_key(session: Session, key: str) -> None:
    digest = hashlib.sha256(key.encode()).digest()
    known = session.execute(sa.select(ApiKey.id).where(ApiKey.digest == digest)).scalar()
    if known is None:
        session.add(
            ApiKey(tenant_id=DEFAULT_TENANT, name=KEY_FILE, digest=digest, created_at=now(session))
        )
