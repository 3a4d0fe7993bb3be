"""Copies of a shipped model in a service, and models as files between services."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterable
from typing import Any

from app import catalogue
from app.db.session import transaction
from app.db.tables import DEFAULT_TENANT
from app.storage import LocalStorage
from models.spec import ModelSpec
from models.zoo.catalogue import shipped_model
from tests.service import Service

ZOO = shipped_model("fashion-cvae")
BODY: dict[str, Any] = {"samples_per_class": {"bag": 3}, "seed": 7}


def add(service: Service, name: str, *versions: str) -> list[ModelSpec]:
    """Register copies of a shipped model, as fast as nobody tries them."""
    specs = [ZOO.spec.model_copy(update={"name": name, "version": v}) for v in versions]
    storage = LocalStorage(service.settings.objects_dir)
    with transaction(service.database) as session:
        for spec in specs:
            catalogue.register(
                session, storage, DEFAULT_TENANT, spec, ZOO.weights_path, ZOO.preview_path
            )
    return specs


def type_of(answer: Any) -> str:
    """The slug of a problem."""
    return str(answer.json()["type"]).removeprefix("/problems/")


def contents(exported: bytes) -> dict[str, bytes]:
    """The members of a zip."""
    with zipfile.ZipFile(io.BytesIO(exported)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: Iterable[tuple[str, bytes]], **options: Any) -> bytes:
    """A zip of such members, also of those that no sensible one has."""
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        with zipfile.ZipFile(out, "w", **options) as archive:
            for name, content in members:
                archive.writestr(name, content)
    return out.getvalue()
