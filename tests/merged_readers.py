"""Merged datasets as trainers read them: of every image its split, origin, class and pixels."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.datasets.manifest import Layout
from app.jobs.plan import Plan

Found = tuple[str, str, str, str]
"""Split, origin, class, SHA-256 of the pixels."""


def sha_of(image: bytes | Image.Image) -> str:
    """Of the pixels of a file, or of an image that was opened."""
    if isinstance(image, bytes):
        with Image.open(io.BytesIO(image)) as opened:
            return sha_of(opened)
    return hashlib.sha256(np.asarray(image).tobytes()).hexdigest()


def in_folders(folder: Path, plan: Plan) -> list[Found]:
    """By torchvision's ImageFolder."""
    from torchvision.datasets import ImageFolder

    names = {directory: name for name, directory in Layout(plan).directories.items()}
    found = []
    for split in _splits(plan):
        dataset = ImageFolder(str(folder / Layout(plan).start_of(split)))
        for path, label in dataset.samples:
            origin = "synthetic" if Path(path).name.startswith("synthetic-") else "real"
            name = names[dataset.classes[label]]
            found.append((split, origin, name, sha_of(Path(path).read_bytes())))
    return found


def in_metadata(folder: Path, plan: Plan) -> list[Found]:
    """By the class folders of Hugging Face's datasets, which reads metadata.jsonl."""
    from datasets import load_dataset

    cache = str(folder.parent / "cache")
    read = load_dataset("imagefolder", data_dir=str(folder), cache_dir=cache)
    found = []
    for split, rows in read.items():
        for row in rows:
            assert row["split"] == split
            assert row["pixel_sha256"] == sha_of(row["image"])
            assert (row["model"], row["seed"], row["candidate"]) == ("", -1, -1) or (
                row["origin"] == "synthetic"
            )
            found.append((split, row["origin"], plan.classes[row["label"]], row["pixel_sha256"]))
    return found


def in_tars(folder: Path, plan: Plan) -> list[Found]:
    """By webdataset."""
    import webdataset

    found = []
    for split in _splits(plan):
        files = sorted(str(path) for path in folder.glob(f"{split}-*.tar"))
        for sample in webdataset.WebDataset(files, shardshuffle=False):
            facts = json.loads(sample["json"])
            assert facts["pixel_sha256"] == sha_of(sample[plan.encoding.extension])
            assert facts["label"] == int(sample["cls"])
            name = plan.classes[int(sample["cls"])]
            found.append((split, facts["origin"], name, facts["pixel_sha256"]))
    return found


def in_tables(folder: Path, plan: Plan) -> list[Found]:
    """By Hugging Face's datasets."""
    from datasets import load_dataset

    read = load_dataset(str(folder), cache_dir=str(folder.parent / "cache"))
    assert sorted(read) == sorted(_splits(plan))
    found = []
    for split, rows in read.items():
        names = rows.features["label"].names
        for row in rows:
            sha = sha_of(row["image"])
            assert sha == row["pixel_sha256"]
            assert (row["model"] is None) == (row["origin"] == "real")
            assert row["split"] == split
            found.append((split, row["origin"], names[row["label"]], sha))
    return found


def in_columns(folder: Path, _: Plan) -> list[Found]:
    """By pyarrow."""
    from pyarrow import parquet

    return [
        (row["split"], row["origin"], row["class"], sha_of(row["image"]["bytes"]))
        for path in sorted(folder.glob("data/*.parquet"))
        for row in parquet.read_table(path).to_pylist()
    ]


def in_arrays(folder: Path, plan: Plan) -> list[Found]:
    """By numpy."""
    found = []
    splits = _splits(plan)
    for split in splits:
        start = "" if len(splits) == 1 else f"{'val' if split == 'validation' else split}_"
        columns = [
            np.load(folder / f"{start}{name}.npy") for name in ("origin", "labels", "images")
        ]
        for origin, label, pixels in zip(*columns, strict=True):
            sha = hashlib.sha256(pixels.tobytes()).hexdigest()
            found.append((split, str(origin), plan.classes[label], sha))
    return found


def in_records(loaded: Any, record_set: str) -> list[Found]:
    """By mlcroissant, from a record set of an `mlcroissant.Dataset`."""
    classes = {
        _text(r["classes/folder"]): _text(r["classes/name"]) for r in loaded.records("classes")
    }
    found = []
    for record in loaded.records(record_set):
        split, origin, name = (
            _text(record[f"{record_set}/{column}"]) for column in ("split", "origin", "class")
        )
        name = classes[name] if record_set == "images" else name
        found.append((split, origin, name, sha_of(record[f"{record_set}/image"])))
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _splits(plan: Plan) -> tuple[str, ...]:
    assert plan.merge is not None
    return plan.merge.splits


READERS: Mapping[str, Callable[[Path, Plan], list[Found]]] = {
    "imagefolder": in_folders,
    "metadata": in_metadata,
    "webdataset": in_tars,
    "parquet": in_tables,
    "npz": in_arrays,
}
