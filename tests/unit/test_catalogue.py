"""Registered models: immutable, found by name and version, stored by content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app import catalogue
from app.db.session import create_engine, transaction
from app.db.tables import Base, Model, Tenant
from app.errors import ConflictError, NotFoundError
from app.storage import LocalStorage
from models.spec import ModelSpec
from models.zoo.catalogue import shipped
from tests.builders import spec


@dataclass
class Shelf:
    """A catalogue of two tenants, and files to register."""

    session: Session
    storage: LocalStorage
    weights: Path
    tenant: str = "mine"

    def add(self, model: ModelSpec, tenant: str = "mine", preview: Path | None = None) -> Model:
        return catalogue.register(self.session, self.storage, tenant, model, self.weights, preview)

    def find(self, ref: str, tenant: str = "mine") -> Model:
        return catalogue.find(self.session, tenant, ref)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    Base.metadata.create_all(engine)
    (tmp_path / "w").write_bytes(b"tensors")
    with transaction(engine) as session:
        moment = sa.func.current_timestamp()
        for name in ("mine", "theirs"):
            session.execute(sa.insert(Tenant).values(id=name, created_at=moment))
        yield Shelf(session, LocalStorage(tmp_path / "objects"), tmp_path / "w")
    engine.dispose()


def test_files_are_stored_under_tenant_and_content(shelf: Shelf) -> None:
    row = shelf.add(spec("a"), preview=shelf.weights)
    assert row.sha256 == spec("a").sha256
    assert row.weights_key == f"models/mine/{row.sha256}/weights.safetensors"
    assert shelf.storage.read(row.weights_key) == b"tensors"
    assert row.preview_key
    assert shelf.storage.read(row.preview_key) == b"tensors"
    assert catalogue.spec_of(row) == spec("a")


def test_the_same_content_again_is_the_same_row(shelf: Shelf) -> None:
    assert shelf.add(spec("a")) is shelf.add(spec("a"))


def test_other_content_needs_another_version(shelf: Shelf) -> None:
    shelf.add(spec("a"))
    with pytest.raises(ConflictError, match="version of its own"):
        shelf.add(spec("a", description="retrained"))
    assert len(list(shelf.storage.list("models"))) == 1
    shelf.add(spec("a", description="retrained", version="1.1"))
    assert shelf.find("a").version == "1.1"
    assert shelf.find("a@1.0").version == "1.0"


def test_the_newest_version_is_the_largest_number(shelf: Shelf) -> None:
    for version in ("1.9", "1.10", "1", "1.2.30"):
        shelf.add(spec("a", version=version))
    assert shelf.find("a").version == "1.10"
    assert [model.version for model in catalogue.every(shelf.session, "mine")] == [
        "1",
        "1.2.30",
        "1.9",
        "1.10",
    ]


@pytest.mark.parametrize(
    "ref", ["b", "a@2.0", "a@", "@", "@1.0", "A", "a ", "a@1.0@1.0", "a\x00", "%", "x" * 5_000]
)
def test_what_is_not_there_is_answered_with_what_is(shelf: Shelf, ref: str) -> None:
    shelf.add(spec("a"))
    with pytest.raises(NotFoundError) as refusal:
        shelf.find(ref)
    assert refusal.value.detail.endswith("Known models: a.")
    assert refusal.value.detail.isprintable()
    assert len(refusal.value.detail) < 300


def test_an_empty_catalogue_says_so(shelf: Shelf) -> None:
    with pytest.raises(NotFoundError, match="No model is registered"):
        shelf.find("a")


def test_tenants_have_catalogues_of_their_own(shelf: Shelf) -> None:
    mine, theirs = shelf.add(spec("a")), shelf.add(spec("a", description="theirs"), "theirs")
    assert shelf.find("a") is mine
    assert shelf.find("a", "theirs") is theirs
    assert catalogue.by_content(shelf.session, "theirs", mine.sha256) is None
    assert mine.weights_key != theirs.weights_key


def test_shipped_models_are_registered_once(shelf: Shelf) -> None:
    for _ in range(2):
        catalogue.register_shipped(shelf.session, shelf.storage, "mine")
    names = [model.name for model in catalogue.every(shelf.session, "mine")]
    assert names == [model.spec.name for model in shipped()]


def test_a_shipped_model_under_a_taken_version_is_left_out_aloud(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    """A snapshot of an earlier installation may lie in the data folder."""
    there = shipped()[0].spec.model_copy(update={"description": "an earlier snapshot"})
    kept = shelf.add(there)
    catalogue.register_shipped(shelf.session, shelf.storage, "mine")
    assert shelf.find(there.name) is kept
    assert there.ref in caplog.text
