"""Parquet as image datasets on the Hub have it: read by pyarrow and by `datasets`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from app.datasets.batch import as_parquet
from app.jobs.encoding import Encoding, Jpeg, Png, Webp
from tests.image_readers import with_pillow
from tests.made_batches import drawn

ENCODINGS = [Png(), Webp(), Jpeg()]


def table(encoding: Encoding) -> pyarrow.Table:
    return parquet.read_table(io.BytesIO(as_parquet(drawn(encoding))))


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_pyarrow_reads_a_row_for_each_sample(encoding: Encoding) -> None:
    batch = drawn(encoding)
    read = table(encoding)
    assert read.schema.field("image").type == pyarrow.struct(
        [("bytes", pyarrow.binary()), ("path", pyarrow.string())]
    )
    assert read.schema.field("label").type == pyarrow.int64()
    rows = read.to_pylist()
    assert [row["index"] for row in rows] == list(range(5))
    for row, (sample, content) in zip(rows, batch.ordered(), strict=True):
        assert row["image"]["bytes"] == content
        assert row["image"]["path"] == f"{row['class']}/{row['index']:08d}.{encoding.extension}"
        assert row["class"] == batch.plan.classes[row["label"]]
        assert row["candidate"] == sample.candidate
        assert row["pixel_sha256"] == sample.pixel_sha256.hex()


def test_the_metadata_is_what_datasets_writes() -> None:
    from datasets import ClassLabel, Features, Image, Value

    features = Features(
        {
            "image": Image(),
            "label": ClassLabel(names=["class-0", "class-1"]),
            "index": Value("int64"),
            "class": Value("string"),
            "model": Value("string"),
            "seed": Value("int64"),
            "candidate": Value("int64"),
            "pixel_sha256": Value("string"),
        }
    )
    ours, theirs = table(Png()).schema, features.arrow_schema
    assert ours.remove_metadata() == theirs.remove_metadata()
    assert json.loads(ours.metadata[b"huggingface"]) == json.loads(theirs.metadata[b"huggingface"])


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_datasets_decodes_images_and_names_classes(encoding: Encoding, tmp_path: Path) -> None:
    from datasets import Dataset

    path = tmp_path / "samples.parquet"
    path.write_bytes(as_parquet(drawn(encoding)))
    read = Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    assert read.num_rows == 5
    assert read.features["label"].names == ["class-0", "class-1"]
    for row, (_, content) in zip(read, drawn(encoding).ordered(), strict=True):
        assert read.features["label"].int2str(row["label"]) == row["class"]
        pixels = np.asarray(row["image"]).reshape(16, 12, -1)
        assert np.array_equal(pixels, with_pillow(content))


def test_equal_samples_give_equal_bytes_and_images_are_not_compressed_again() -> None:
    content = as_parquet(drawn(Png()))
    assert content == as_parquet(drawn(Png()))
    columns = parquet.ParquetFile(io.BytesIO(content)).metadata.row_group(0)
    found = {
        columns.column(k).path_in_schema: columns.column(k).compression
        for k in range(columns.num_columns)
    }
    assert found.pop("image.bytes") == "UNCOMPRESSED"
    assert set(found.values()) == {"ZSTD"}
