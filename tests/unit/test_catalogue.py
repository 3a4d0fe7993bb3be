"""Registered models: immutable, found by name and version, stored by content."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app import catalogue, deletion
from app.db.session import create_engine, transaction
from app.db.tables import DEFAULT_TENANT, Base, Model, Tenant
from app.errors import (
    ConflictError,
    NotFoundError,
    SynthloomError,
    UnknownModelError,
    ValidationError,
)
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
    assert row.weights_key.startswith(f"models/mine/{row.sha256}/")
    assert row.weights_key.endswith("/weights.safetensors")
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


# Versions


@pytest.fixture
def several(shelf: Shelf) -> Shelf:
    """Three versions of one model, and another model."""
    for version in ("1.0", "1.2", "1.10"):
        shelf.add(spec("a", version=version))
    shelf.add(spec("b"))
    return shelf


def test_versions_are_listed_from_the_newest(several: Shelf) -> None:
    found = catalogue.versions(several.session, "mine", "a")
    assert [model.version for model in found] == ["1.10", "1.2", "1.0"]
    with pytest.raises(NotFoundError, match="Known models: a, b"):
        catalogue.versions(several.session, "mine", "c")


def test_a_name_means_the_version_that_was_chosen_last(several: Shelf) -> None:
    for version in ("1.0", "1.2"):
        found = catalogue.choose(several.session, "mine", "a", version)
        assert catalogue.default_of(found).version == several.find("a").version == version
    several.add(spec("a", version="2"))
    assert several.find("a").version == "1.2"
    assert several.find("a@2").version == "2"
    catalogue.choose(several.session, "mine", "a", None)
    assert several.find("a").version == "2"
    assert several.find("b").version == "1.0"


def test_a_version_that_is_not_there_is_not_chosen(several: Shelf) -> None:
    catalogue.choose(several.session, "mine", "a", "1.0")
    with pytest.raises(UnknownModelError, match=r"There are: 1\.10, 1\.2, 1\.0\.$"):
        catalogue.choose(several.session, "mine", "a", "3")
    with pytest.raises(NotFoundError):
        catalogue.choose(several.session, "theirs", "a", "1.0")
    assert several.find("a").version == "1.0"


def test_a_name_means_the_newest_again_when_its_chosen_version_is_deleted(several: Shelf) -> None:
    catalogue.choose(several.session, "mine", "a", "1.0")
    catalogue.choose(several.session, "mine", "a", "1.2")
    deletion.delete(several.session, "mine", "a@1.2")
    assert several.find("a").version == "1.10"


# Deletion


def test_a_version_is_named_unless_there_is_only_one(several: Shelf) -> None:
    with pytest.raises(ValidationError, match=r"a@1\.10, a@1\.2, a@1\.0"):
        deletion.delete(several.session, "mine", "a")
    deletion.delete(several.session, "mine", "b")
    with pytest.raises(NotFoundError, match="Known models: a"):
        several.find("b")
    with pytest.raises(NotFoundError):
        deletion.delete(several.session, "mine", "b")
    with pytest.raises(NotFoundError):
        deletion.delete(several.session, "theirs", "a@1.0")


def test_what_a_deletion_leaves_for_its_caller_are_the_files(shelf: Shelf) -> None:
    kept = shelf.add(spec("a"))
    shelf.add(spec("a", version="2"), preview=shelf.weights)
    shelf.storage.delete_all(deletion.delete(shelf.session, "mine", "a@2"))
    assert list(shelf.storage.list("models")) == [kept.weights_key]


def test_shipped_models_stay(shelf: Shelf) -> None:
    model = shipped()[0]
    shelf.session.execute(sa.insert(Tenant).values(id=DEFAULT_TENANT, created_at=sa.func.now()))
    for tenant in (DEFAULT_TENANT, "mine"):
        catalogue.register_shipped(shelf.session, shelf.storage, tenant)
    with pytest.raises(ConflictError, match="comes with Synthloom"):
        deletion.delete(shelf.session, DEFAULT_TENANT, model.spec.ref)
    deletion.delete(shelf.session, "mine", model.spec.ref)


def test_a_model_that_was_deleted_can_be_registered_again(shelf: Shelf) -> None:
    first = shelf.add(spec("a"))
    left = deletion.delete(shelf.session, "mine", "a")
    second = shelf.add(spec("a"))
    shelf.storage.delete_all(left)
    assert second.sha256 == first.sha256
    assert shelf.storage.read(second.weights_key) == b"tensors"


def test_old_files_that_no_row_names_are_removed(shelf: Shelf) -> None:
    kept = shelf.add(spec("a"), preview=shelf.weights)
    left = [
        "models/mine/00/weights.safetensors",
        "models/gone/00/x/preview.png.ab.part",
        "datasets/mine/ds_00/dataset",
    ]
    new = "models/mine/00/ff/weights.safetensors"
    for key in (*left, new):
        with shelf.storage.create(key) as writer:
            writer.write(b"x")
    for key in (*left, kept.weights_key):
        long_ago = time.time() - deletion.LEFT_SECONDS - 1
        os.utime(shelf.storage.path(key), (long_ago, long_ago))
    before = set(shelf.storage.list(""))
    files = deletion.LeftFiles()

    def look() -> int:
        return files.remove(lambda: nullcontext(shelf.session), shelf.storage)

    assert look() == 0  # one look is not enough: the clock may have jumped
    assert set(shelf.storage.list("")) == before
    assert look() == len(left)
    assert set(shelf.storage.list("")) == {kept.weights_key, kept.preview_key, new}
    assert look() == 0


def test_a_registration_that_fails_leaves_no_file(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.add(spec("a"))
    before = list(shelf.storage.list("models"))
    for preview in (Path("nowhere"), shelf.weights):
        if preview == shelf.weights:
            monkeypatch.setattr(catalogue, "now", lambda _: (_ for _ in ()).throw(TimeoutError))
        with pytest.raises((SynthloomError, TimeoutError)):
            shelf.add(spec("b"), preview=preview)
        assert list(shelf.storage.list("models")) == before
