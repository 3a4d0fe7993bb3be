"""Unpacking gives the same dataset or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.datasets.members import DamagedError
from app.datasets.unpack import unpack
from app.datasets.verify import verify
from tests.made_datasets import QUOTAS, Make, spoilt


def test_unpacking_gives_the_same_dataset(make: Make, tmp_path: Path) -> None:
    files = make.files(QUOTAS)
    assert unpack(make.zip(files), tmp_path / "below" / "out") == len(files)
    out = tmp_path / "below" / "out"
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.*")}
    assert found | {"SHA256SUMS": (out / "SHA256SUMS").read_bytes()} == files
    assert verify(out).ok
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("how", ["tampered", "missing", "extra", "no checksums"])
def test_unpacking_a_bad_archive_leaves_nothing(make: Make, tmp_path: Path, how: str) -> None:
    path = make.zip(spoilt(how))
    with pytest.raises(DamagedError, match=r"SHA256SUMS|is missing"):
        unpack(path, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == [path]


def test_unpacking_over_something_leaves_it(make: Make, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(OSError, match="out"):
        unpack(make.zip(make.files(QUOTAS)), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
