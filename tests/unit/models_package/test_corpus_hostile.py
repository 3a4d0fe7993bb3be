"""Datasets of strangers: every one is refused with its kind and a sentence, and nothing is left."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.corpus.inspection import Cost, inspect
from models.corpus.limits import Limits
from models.corpus.read import open_source, read
from models.corpus.survey import Survey, Surveyor
from models.errors import DatasetError
from tests import made_corpora as made
from tests.hostile.datasets import ACCEPTED, HOSTILE, overlapping_bomb, ratio_bomb
from tests.hostile.tars import TARS


def looked_through(content: bytes, limits: Limits | None = None) -> Survey:
    limits = limits or Limits()
    with open_source(io.BytesIO(content), limits) as source:
        return Surveyor(source, limits).survey()


@pytest.mark.parametrize("name", [*HOSTILE, *TARS])
def test_it_is_refused_with_its_kind_and_a_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, kind = (HOSTILE | TARS)[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError) as caught:
        looked_through(content)
    assert caught.value.kind == kind, str(caught.value)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert sentence.isprintable()
    assert len(sentence) < 700
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_odd_and_fine_is_read(name: str) -> None:
    content, classes = ACCEPTED[name]
    assert len(looked_through(content).classes) == classes


def test_a_class_name_is_kept_in_any_script() -> None:
    names = ("é", "類 類", "🐝", "а", "-rf", "=cmd()", "<script>", "{{7*7}}", "%2e%2e", "CON")
    content = made.zipped(
        {f"{name}/1.png": made.png(made.splits(1)["train"][0][0]) for name in names}
    )
    assert looked_through(content).classes == tuple(sorted(names))


def test_names_that_are_utf8_without_saying_so_are_read_as_that(tmp_path: Path) -> None:
    """As the archives of macOS are."""
    content = made.zipped({"类/1.png": made.png(made.splits(1)["train"][0][0])})
    flags = [content.find(mark) + at for mark, at in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9))]
    unmarked = bytearray(content)
    for at in flags:
        assert unmarked[at] == 0x08
        unmarked[at] = 0
    assert looked_through(bytes(unmarked)).classes == ("类",)


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        (Limits(images=14), "too-many-images"),
        (Limits(classes=2), "too-many-classes"),
        (Limits(members=14), "too-many-members"),
        (Limits(file_bytes=50), "file-too-large"),
        (Limits(unpacked_bytes=1_000), "too-large-expanded"),
        (Limits(pixels=29), "image-too-large"),
    ],
)
def test_limits_are_kept(limits: Limits, kind: str) -> None:
    content = made.zipped(made.class_folders(made.splits(3)))
    with pytest.raises(DatasetError) as caught:
        looked_through(content, limits)
    assert caught.value.kind == kind


def test_a_corpus_that_is_larger_than_memory_is_not_begun(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(made.npz(made.splits(3)))
    with pytest.raises(DatasetError, match="State a smaller size") as caught:
        read(tmp_path / "x.npz", limits=Limits(corpus_bytes=1_000))
    assert caught.value.kind == "too-large"


def test_a_split_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(made.npz(made.splits(3)))
    with pytest.raises(DatasetError, match="no test split; it has: train"):
        read(tmp_path / "x.npz", split="test")


@pytest.mark.parametrize("make", [overlapping_bomb, ratio_bomb])
def test_bombs_cost_the_sandbox_nothing(tmp_path: Path, make: Callable[[], bytes]) -> None:
    (tmp_path / "x").write_bytes(make())
    with pytest.raises(DatasetError) as caught:
        inspect(tmp_path / "x", tmp_path, cost=Cost(memory_bytes=300 << 20, seconds=20))
    assert caught.value.kind in ("overlapping-entries", "too-large-expanded")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_links_of_the_users_own_folder_are_followed_once(tmp_path: Path) -> None:
    made.to_folder(made.class_folders(made.splits(1)), tmp_path / "real")
    (tmp_path / "linked").mkdir()
    for folder in (tmp_path / "real").iterdir():
        (tmp_path / "linked" / folder.name).symlink_to(folder)
    (tmp_path / "linked" / made.CLASSES[0] / "loop").symlink_to(tmp_path / "linked")
    found = read(tmp_path / "linked")
    assert found.classes == tuple(sorted(made.CLASSES))


MUTATED = {
    "class folders": made.zipped(made.class_folders(made.splits(3)), zipfile.ZIP_STORED),
    "metadata": made.zipped(made.imagefolder(made.splits(1), "jsonl"), zipfile.ZIP_STORED),
    "npz": made.npz(made.splits(1), np.savez),
    "idx": made.zipped(made.idx_files(made.splits(1), packed=True), zipfile.ZIP_STORED),
    "parquet": made.hugging_face_parquet(made.splits(3)["train"]),
}


@pytest.mark.parametrize("name", MUTATED)
def test_mutants_are_read_or_refused_and_nothing_else(name: str) -> None:
    """Bytes changed at random; the checksums of the zip are set right, so that all is reached."""
    stream = random.Random(name)
    sentences = []
    for _ in range(60):
        mutant = bytearray(MUTATED[name])
        for _ in range(stream.choice((1, 2, 20))):
            mutant[stream.randrange(len(mutant))] = stream.choice((0, 127, 128, 255))
        try:
            looked_through(with_right_checksums(bytes(mutant)))
        except DatasetError as error:
            sentences.append(str(error))
    assert sentences
    assert all(sentence.isprintable() for sentence in sentences)


def with_right_checksums(content: bytes) -> bytes:
    fixed = bytearray(content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                at = entry.header_offset
                start = at + 30 + sum(struct.unpack_from("<2H", content, at + 26))
                crc = zlib.crc32(content[start : start + entry.file_size])
                old = struct.pack("<2I", entry.CRC, entry.compress_size)
                place = content.find(old, archive.start_dir)
                if place >= 0:
                    fixed[place : place + 4] = struct.pack("<I", crc)
    except (zipfile.BadZipFile, struct.error, NotImplementedError, UnicodeDecodeError, ValueError):
        return content
    return bytes(fixed)
