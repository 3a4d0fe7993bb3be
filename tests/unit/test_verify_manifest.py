"""`verify` with the manifest of the job: files by their hash, lossless ones by their pixels too."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from app.datasets.batch import as_zip
from app.datasets.manifest import Layout
from app.datasets.verify import Verification, verify
from app.jobs.encoding import Encoding, Jpeg, Png, Webp
from tests.made_batches import drawn
from tests.made_datasets import Make

LOSSLESS = [Png(), Webp()]
LOSSY = [Webp(quality=80), Jpeg()]
Row = dict[str, Any]


def rows(encoding: Encoding) -> list[Row]:
    """The manifest, as far as it speaks of files."""
    batch = drawn(encoding)
    layout = Layout(batch.plan)
    return [
        {
            "index": row.sample,
            "file": layout.file_name(row.sample, row.cell),
            "file_sha256": row.file_sha256.hex(),
            "pixel_sha256": row.pixel_sha256.hex(),
        }
        for row in batch.rows
    ]


def checked(make: Make, folder: Path, encoding: Encoding, manifest: list[Row]) -> Verification:
    with zipfile.ZipFile(io.BytesIO(as_zip(drawn(encoding)))) as archive:
        path = make.zip({name: archive.read(name) for name in archive.namelist()})
    lines = folder / "manifest.ndjson"
    lines.write_text("".join(json.dumps(row) + "\n" for row in manifest))
    return verify(path, manifest=lines)


@pytest.mark.parametrize("encoding", LOSSLESS + LOSSY, ids=repr)
def test_a_dataset_is_what_its_manifest_says(
    make: Make, tmp_path: Path, encoding: Encoding
) -> None:
    found = checked(make, tmp_path, encoding, rows(encoding))
    assert found.problems == []
    assert found.images == 5


@pytest.mark.parametrize("encoding", LOSSLESS + LOSSY, ids=repr)
def test_other_pixels_are_found_where_the_files_keep_them(
    make: Make, tmp_path: Path, encoding: Encoding
) -> None:
    manifest = rows(encoding)
    manifest[2]["pixel_sha256"] = "0" * 64
    found = checked(make, tmp_path, encoding, manifest)
    sentence = f"{manifest[2]['file']} does not decode to the pixels that the manifest lists."
    assert found.problems == ([sentence] if encoding.lossless else [])


def test_another_file_is_found(make: Make, tmp_path: Path) -> None:
    manifest = rows(Jpeg())
    manifest[2]["file_sha256"] = "0" * 64
    found = checked(make, tmp_path, Jpeg(), manifest)
    assert found.problems == [f"{manifest[2]['file']} is not the file that the manifest lists."]


def test_files_that_only_one_of_them_has_are_named(make: Make, tmp_path: Path) -> None:
    manifest = rows(Png())
    gone = manifest.pop(1)
    found = checked(make, tmp_path, Png(), [*manifest, gone | {"file": "hat/00000009.png"}])
    assert found.problems == [
        f"{gone['file']} is not listed in the manifest.",
        "hat/00000009.png is listed in the manifest but missing.",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "{}",
        "[]",
        '{"file": "x"}',
        '{"file": 7, "file_sha256": "", "pixel_sha256": ""}',
    ],
)
def test_what_is_no_manifest_says_so(make: Make, tmp_path: Path, line: str) -> None:
    path = make.folder(make.files({"bag": 1}))
    (tmp_path / "manifest.ndjson").write_text(f"{line}\n")
    found = verify(path, manifest=tmp_path / "manifest.ndjson")
    assert found.problems == ["manifest.ndjson is no manifest: line 1 does not name a sample."]


def test_a_file_named_twice_is_found(make: Make, tmp_path: Path) -> None:
    manifest = rows(Png())
    found = checked(make, tmp_path, Png(), [*manifest, manifest[0]])
    assert found.problems == ["manifest.ndjson names a file twice, again in line 6."]
