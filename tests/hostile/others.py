"""Files that are something else: what people give by mistake, and other programs' formats."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from models.importing.errors import Kind
from tests.hostile.building import saved, state_dict, zipped
from tests.hostile.programs import Row


def content(value: bytes, kind: Kind) -> Row:
    return (lambda _: value), {kind}


def tar(_: Path) -> bytes:
    """The layout of torch before 0.1.10."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            archive.addfile(tarfile.TarInfo(name))
    return stream.getvalue()


def npz(_: Path) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, w=np.zeros(4))
    return stream.getvalue()


def picture(_: Path) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "PNG")
    return stream.getvalue()


def compressed(pack: object) -> Row:
    return (lambda _: pack(saved(state_dict()))), {Kind.COMPRESSED}  # type: ignore[operator]


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 3390093\n"
LARGE_FIELD = b"\x08\x08\x3a\xff\xff\xff\xff\x7f"
CASES: dict[str, Row] = {
    "empty": content(b"", Kind.EMPTY),
    "one-byte": content(b"\x80", Kind.DAMAGED),
    "zeros": content(bytes(100_000), Kind.UNRECOGNISED),
    "noise": content(np.random.default_rng(1).bytes(4096), Kind.UNRECOGNISED),
    "lfs-pointer": content(LFS, Kind.LFS_POINTER),
    "html": content(b"\n<!DOCTYPE html><html><body>Sign in</body></html>", Kind.HTML),
    "html-upper-case": content(b"<HTML><HEAD></HEAD></HTML>", Kind.HTML),
    "xml-error": content(b'<?xml version="1.0"?><Error>AccessDenied</Error>', Kind.HTML),
    "text": content(b"Entry not found", Kind.TEXT),
    "json": content(b'{"error": "Repository not found"}', Kind.JSON),
    "json-list": content(b"[1, 2, 3]", Kind.JSON),
    "gzip": compressed(gzip.compress),
    "xz": compressed(lzma.compress),
    "bzip2": compressed(bz2.compress),
    "7z": content(b"7z\xbc\xaf\x27\x1c" + bytes(50), Kind.COMPRESSED),
    "rar": content(b"Rar!\x1a\x07\x01\x00" + bytes(50), Kind.COMPRESSED),
    "tar": (tar, {Kind.TAR}),
    "keras-h5": content(b"\x89HDF\r\n\x1a\n" + bytes(500), Kind.HDF5),
    "keras": (
        lambda _: zipped({"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b""}),
        {Kind.KERAS}),
    "saved-model": content(b"\x08\x01\x12\x02\x0a\x00", Kind.SAVED_MODEL),
    "tflite": content(b"\x1c\x00\x00\x00TFL3" + bytes(50), Kind.TFLITE),
    "npz": (npz, {Kind.NPZ}),
    "gguf": content(b"GGUF\x03\x00\x00\x00" + bytes(50), Kind.GGUF),
    "png": (picture, {Kind.PICTURE}),
    "jpeg": content(b"\xff\xd8\xff\xe0" + bytes(50), Kind.PICTURE),
    "docx": (lambda _: zipped({"word/document.xml": b"<a/>"}), {Kind.ZIP}),
    "onnx-with-a-lying-length": ((lambda _: LARGE_FIELD), {Kind.ONNX, Kind.UNRECOGNISED}),
    "onnx-of-nothing": ((lambda _: b"\x08\x08\x3a\x00"), {Kind.ONNX, Kind.UNRECOGNISED}),
    "executable": content(b"\x7fELF\x02\x01\x01" + bytes(100), Kind.UNRECOGNISED),
}  # fmt: skip
