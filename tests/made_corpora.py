"""Real datasets in every format that is read, written by other people's libraries."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Rows = Sequence[tuple[Pixels, int]]
Splits = Mapping[str, Rows]
"""Split -> images uint8 [H, W, C] with their labels."""

CLASSES = ("ape", "bee", "Äxt 類")
SIDES = (6, 5)


def splits(channels: int, names: Sequence[str] = ("train",), seed: int = 0) -> dict[str, Rows]:
    """Noise, five images a class and split, in an order that is not that of the classes."""
    stream = np.random.default_rng(seed)
    return {
        name: [
            (stream.integers(0, 256, (*SIDES, channels), np.uint8), number % len(CLASSES))
            for number in range(5 * len(CLASSES))
        ]
        for name in names
    }


def png(pixels: Pixels) -> bytes:
    """A PNG file."""
    return _file(pixels, "PNG")


def jpeg(pixels: Pixels) -> bytes:
    """A JPEG file."""
    return _file(pixels, "JPEG")


def _file(pixels: Pixels, kind: str) -> bytes:
    plane = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    buffer = io.BytesIO()
    Image.fromarray(plane).save(buffer, kind)
    return buffer.getvalue()


def class_folders(made: Splits) -> dict[str, bytes]:
    """Path -> content; no level of splits where there is only one."""
    return {
        f"{'' if len(made) == 1 else f'{split}/'}{CLASSES[label]}/{number:03d}.png": png(pixels)
        for split, rows in made.items()
        for number, (pixels, label) in enumerate(rows)
    }


def imagefolder(made: Splits, kind: str = "csv") -> dict[str, bytes]:
    """A Hugging Face ImageFolder with metadata for each split, and a group column."""
    files: dict[str, bytes] = {"README.md": b"about it"}
    for split, rows in made.items():
        table = []
        for number, (pixels, label) in enumerate(rows):
            files[f"{split}/images/{number:03d}.png"] = png(pixels)
            group = "" if number == 0 else ("north", "south")[number % 2]
            name = f"images/{number:03d}.png"
            table.append({"file_name": name, "label": CLASSES[label], "group": group})
        files[f"{split}/metadata.{kind}"] = _table(table, kind)
    return files


def _table(rows: Sequence[dict[str, Any]], kind: str) -> bytes:
    if kind == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if kind == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()
    import pandas

    buffer = io.BytesIO()
    pandas.DataFrame(rows).to_parquet(buffer)
    return buffer.getvalue()


def arrays(made: Splits) -> dict[str, NDArray[Any]]:
    """Keys of an npz: of MedMNIST where there are several splits, else bare ones."""
    found: dict[str, NDArray[Any]] = {"classes": np.array(CLASSES)}
    for split, rows in made.items():
        prefix = "" if len(made) == 1 else f"{'val' if split == 'validation' else split}_"
        images = np.stack([pixels for pixels, _ in rows])
        found[f"{prefix}images"] = images[..., 0] if images.shape[3] == 1 else images
        found[f"{prefix}labels"] = np.array([[label] for _, label in rows], np.uint8)
    return found


def npz(made: Splits, save: Callable[..., None] = np.savez_compressed) -> bytes:
    """What numpy writes."""
    buffer = io.BytesIO()
    save(buffer, **arrays(made))
    return buffer.getvalue()


def hugging_face_parquet(rows: Rows) -> bytes:
    """What the library `datasets` writes."""
    import datasets

    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))}
    )
    table = {
        "image": [{"bytes": png(pixels), "path": None} for pixels, _ in rows],
        "label": [label for _, label in rows],
    }
    buffer = io.BytesIO()
    datasets.Dataset.from_dict(table, features=features).to_parquet(buffer)
    return buffer.getvalue()


def webdataset(rows: Rows) -> bytes:
    """What the library `webdataset` writes: a tar file, its labels names."""
    import webdataset

    buffer = io.BytesIO()
    writer = webdataset.TarWriter(buffer)
    for number, (pixels, label) in enumerate(rows):
        sample = {"__key__": f"{number:05d}", "png": png(pixels), "cls": CLASSES[label]}
        writer.write(sample | {"json": {"number": number}})
    writer.close()
    return buffer.getvalue()


def idx(values: NDArray[Any]) -> bytes:
    """An IDX file of bytes."""
    sides = np.array(values.shape, ">u4").tobytes()
    return bytes([0, 0, 8, values.ndim]) + sides + values.astype(np.uint8).tobytes()


def idx_files(made: Splits, packed: bool) -> dict[str, bytes]:
    """The files of MNIST, gzipped or not."""
    files = {"classes.txt": "\n".join(CLASSES).encode()}
    for split, rows in made.items():
        word = {"test": "t10k", "validation": "val"}.get(split, split)
        images = np.stack([pixels for pixels, _ in rows])
        images = images[..., 0] if images.shape[3] == 1 else images
        labels = np.array([label for _, label in rows])
        for kind, rank, values in (("images", 3, images), ("labels", 1, labels)):
            name = f"{word}-{kind}-idx{rank}-ubyte"
            content = idx(values)
            files[f"{name}.gz" if packed else name] = gzip.compress(content) if packed else content
    return files


def to_folder(files: Mapping[str, bytes], folder: Path) -> Path:
    """Written below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def to_zip(files: Mapping[str, bytes], path: Path, prefix: str = "") -> Path:
    """Packed by the standard library."""
    path.write_bytes(zipped({f"{prefix}{name}": content for name, content in files.items()}))
    return path


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
