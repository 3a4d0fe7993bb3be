"""A model as one file: equal models, equal bytes, and what can't be held is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from app.errors import ConflictError, ModelSpecError, UnsupportedCheckpointError
from app.imports.package import Package, is_package, pack_folder, packed, unpacked
from app.storage import LocalStorage
from models.spec import ModelSpec
from models.zoo.catalogue import shipped_model
from tests.made_datasets import zipped

ZOO = shipped_model("fashion-cvae")
STORAGE = LocalStorage(ZOO.directory)
PROBE: dict[str, Any] = {"findings": [], "contrast": 70.5}


def package(**changes: Any) -> Package:
    spec = ZOO.spec.model_copy(update=changes)
    return packed(spec, ZOO.weights_path.name, b"a picture", PROBE)


def written(made: Package) -> bytes:
    out = io.BytesIO()
    made.write(out, STORAGE)
    return out.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A package of a shipped model."""
    path = tmp_path / "file"
    path.write_bytes(written(package()))
    return path


def test_equal_models_are_equal_bytes() -> None:
    assert written(package()) == written(package())
    assert package().tag == package().tag


@pytest.mark.parametrize(
    "other",
    [
        package(version="2"),
        packed(ZOO.spec, ZOO.weights_path.name, None, PROBE),
        packed(ZOO.spec, ZOO.weights_path.name, b"another", PROBE),
        packed(ZOO.spec, ZOO.weights_path.name, b"a picture", None),
        package(weights=ZOO.spec.weights.model_copy(update={"sha256": "ab" * 32})),
    ],
)
def test_the_tag_follows_all_that_is_in_it(other: Package) -> None:
    assert other.tag != package().tag


def test_spec_and_weights_come_back_as_they_were(file: Path, tmp_path: Path) -> None:
    assert is_package(file)
    made = unpacked(file, tmp_path, {})
    assert made.spec == ZOO.spec
    assert made.weights.read_bytes() == ZOO.weights_path.read_bytes()


def test_a_changed_name_is_another_model(file: Path, tmp_path: Path) -> None:
    made = unpacked(file, tmp_path, {"name": "other", "licence": "MIT"})
    assert made.spec == ModelSpec.model_validate(
        ZOO.spec.model_dump() | {"name": "other", "licence": "MIT"}
    )
    assert made.spec.sha256 != ZOO.spec.sha256


def test_a_name_that_is_none_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelSpecError, match="name"):
        unpacked(file, tmp_path, {"name": "../x"})


@pytest.mark.parametrize("cut", [60, 1_000, 100_000])
def test_a_part_of_a_package_is_a_damaged_one(file: Path, tmp_path: Path, cut: int) -> None:
    file.write_bytes(file.read_bytes()[:cut])
    assert is_package(file)
    with pytest.raises(UnsupportedCheckpointError) as refusal:
        unpacked(file, tmp_path, {})
    assert refusal.value.members["kind"] == "damaged"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK",
        b"spec.json",
        zipped({"archive/data.pkl": b"", "archive/spec.json": b"{}"}),
        zipped({f"{number}": b"" for number in range(50)} | {"spec.json": b"{}"}),
    ],
)
def test_what_is_no_package(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert not is_package(tmp_path / "x")


def test_a_package_made_by_hand_in_another_order_is_one_too(tmp_path: Path) -> None:
    members = {
        "weights.safetensors": ZOO.weights_path.read_bytes(),
        "spec.json": ZOO.spec.to_json().encode(),
    }
    (tmp_path / "x").write_bytes(zipped(members))
    assert is_package(tmp_path / "x")
    assert unpacked(tmp_path / "x", tmp_path, {}).spec == ZOO.spec


def test_weights_that_no_member_can_hold_are_not_exported() -> None:
    large = ZOO.spec.weights.model_copy(update={"bytes": 1 << 32})
    with pytest.raises(ConflictError, match="4 GiB"):
        package(weights=large)


def test_a_folder_of_a_checkpoint_is_packed(tmp_path: Path) -> None:
    target = tmp_path / "model.zip"
    assert pack_folder(ZOO.directory, target) == ZOO.spec
    assert is_package(target)
    workdir = tmp_path / "work"
    workdir.mkdir()
    found = unpacked(target, workdir, {})
    assert found.spec.sha256 == ZOO.spec.sha256
    assert found.weights.read_bytes() == ZOO.weights_path.read_bytes()


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelSpecError, match=r"no readable spec\.json"):
        pack_folder(tmp_path, tmp_path / "model.zip")
    (tmp_path / "spec.json").write_bytes((ZOO.directory / "spec.json").read_bytes())
    with pytest.raises(ModelSpecError, match=r"no weights\.safetensors beside it"):
        pack_folder(tmp_path, tmp_path / "model.zip")
    assert not (tmp_path / "model.zip").exists()
