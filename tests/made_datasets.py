"""Small datasets, as the service would write them, and spoilt ones."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

from PIL import Image

MODEL_SHA = "ab" * 32
QUOTAS = {"bag": 3, "coat": 2}
BAG = "bag/00000000.png"
Files = dict[str, bytes]


def png(value: int, size: tuple[int, int] = (4, 4), mode: str = "L") -> bytes:
    """A small image, different for every value."""
    image = Image.new(mode, size, value % 256 if mode == "L" else (value % 256,) * 3)
    image.putpixel((0, 0), value // 256 if mode == "L" else (1, 2, 3))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def dataset_files(quotas: dict[str, int], seed: int = 7) -> dict[str, bytes]:
    """The members of an imagefolder archive as the service would write it."""
    files: dict[str, bytes] = {}
    for name, count in quotas.items():
        for _ in range(count):
            index = len(files)
            files[f"{name}/{index:08d}.png"] = png(index + 31 * seed)
    files["dataset.json"] = json.dumps(
        {
            "format": "synthloom-dataset/1",
            "synthetic": True,
            "seed": seed,
            "classes": list(quotas),
            "directories": {name: name for name in quotas},
            "samples": sum(quotas.values()),
            "samples_per_class": quotas,
            "models": [{"name": "tiny", "version": "1", "sha256": MODEL_SHA, "licence": "MIT"}],
            "image": {"height": 4, "width": 4, "channels": 1},
        }
    ).encode()
    return files | {"SHA256SUMS": sums_of(files)}


def sums_of(files: dict[str, bytes]) -> bytes:
    """The SHA256SUMS of all files but itself."""
    return "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in files.items()
        if name != "SHA256SUMS"
    ).encode()


def zipped(files: dict[str, bytes]) -> bytes:
    """A stored zip of the files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def resummed(files: Files) -> Files:
    """The same files, with hashes that fit what they are now."""
    return files | {"SHA256SUMS": sums_of(files)}


def described(files: Files, **changes: object) -> Files:
    """The same files with another dataset.json, which is listed as it is."""
    document = json.loads(files["dataset.json"]) | changes
    return resummed(files | {"dataset.json": json.dumps(document).encode()})


def spoilt(how: str) -> Files:
    """A dataset of QUOTAS with something wrong in it."""
    files = dataset_files(QUOTAS)
    match how:
        case "tampered":
            files[BAG] = png(99)
        case "missing":
            del files[BAG]
        case "extra":
            files["bag/extra.png"] = png(1)
        case "extra at the root":
            files["evil.py"] = b"import os"
        case "not an image":
            return resummed(files | {BAG: b"not a png"})
        case "cut short":
            return resummed(files | {BAG: files[BAG][:-20] + files[BAG][-12:]})
        case "without its end":
            return resummed(files | {BAG: files[BAG][:-12]})
        case "something after its end":
            return resummed(files | {BAG: files[BAG] + b"<script>"})
        case "jpeg in disguise":
            return resummed(files | {BAG: b"\xff\xd8\xff\xe0" + bytes(60)})
        case "wrong size":
            return resummed(files | {BAG: png(1, (5, 4))})
        case "wrong mode":
            return resummed(files | {BAG: png(1, (4, 4), "RGB")})
        case "too many bytes":
            return resummed(files | {BAG: files[BAG] + bytes(200_000)})
        case "wrong count":
            return described(files, samples=6, samples_per_class={"bag": 4, "coat": 2})
        case "unknown class":
            return resummed(files | {"hat/00000009.png": png(1)})
        case "nested":
            return resummed(files | {"bag/deeper/00000009.png": png(1)})
        case "no description":
            del files["dataset.json"]
            return resummed(files)
        case "no checksums":
            del files["SHA256SUMS"]
    return files


class Make:
    """Builds small datasets below a folder."""

    png = staticmethod(png)
    files = staticmethod(dataset_files)
    sums = staticmethod(sums_of)
    zipped = staticmethod(zipped)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder(self, files: dict[str, bytes]) -> Path:
        """The files as an unpacked dataset."""
        for name, content in files.items():
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / name).write_bytes(content)
        return self._folder

    def zip(self, files: dict[str, bytes]) -> Path:
        """The files as an archive."""
        path = self._folder.with_suffix(".zip")
        path.write_bytes(zipped(files))
        return path
