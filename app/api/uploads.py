"""Multipart bodies: received into a folder of their own, bounded, and gone afterwards."""

from __future__ import annotations

import errno
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile as StarletteUpload

from app.errors import (
    BodyTooLargeError,
    StorageFullError,
    UnsupportedMediaTypeError,
    ValidationError,
)

FOLDER = "uploads"
LEFT_SECONDS = 3_600.0
"""No upload takes this long; one that is older was left by a crash."""
FIELDS = 12
FIELD_BYTES = 2 << 20
FORM_OVERHEAD_BYTES = 4 << 20
ALONE = "Save the generator alone, or raise SYNTHLOOM_MAX_UPLOAD_BYTES."
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Upload(NamedTuple):
    """The file of a request, its other fields, and the folder to work in."""

    file: Path
    fields: dict[str, str]
    folder: Path


@asynccontextmanager
async def received(
    request: Request, data_dir: Path, file_field: str, most_bytes: int, advice: str = ALONE
) -> AsyncIterator[Upload]:
    """The multipart body of a request, on disk for the length of the block.

    advice: what to do about a file of more than `most_bytes`.

    Raises UnsupportedMediaTypeError, BodyTooLargeError, ValidationError, StorageFullError.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise UnsupportedMediaTypeError(
            f"Send a form: `Content-Type: multipart/form-data` with the file as `{file_field}`."
        )
    with tempfile.TemporaryDirectory(dir=data_dir / FOLDER) as name:
        folder = Path(name)
        try:
            fields = await _store(request, folder, file_field, most_bytes, advice)
        except OSError as error:
            if error.errno in _FULL:
                raise StorageFullError(
                    "The server's disk is full. Free some space, then send the file again."
                ) from error
            raise
        yield Upload(folder / "file", fields, folder)


def multipart(file_field: str, **fields: str) -> dict[str, Any]:
    """The body of such a request in the OpenAPI document: the file, and fields of text."""
    texts = {name: {"type": "string", "description": text} for name, text in fields.items()}
    properties = {file_field: {"type": "string", "format": "binary"}, **texts}
    schema = {"type": "object", "required": [file_field], "properties": properties}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


def prepare_uploads(data_dir: Path, objects_dir: Path) -> None:
    """Remove what a server that was killed had received, or had handed to a worker."""
    (data_dir / FOLDER).mkdir(parents=True, exist_ok=True)
    for base in (data_dir, objects_dir):
        for folder in (base / FOLDER).glob("*"):
            with suppress(OSError):  # another server may sweep too
                if time.time() - folder.stat().st_mtime > LEFT_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)


async def _store(
    request: Request, folder: Path, file_field: str, most_bytes: int, advice: str
) -> dict[str, str]:
    bounded = Request(request.scope, request.receive)
    bounded.stream = lambda: _bounded(request, most_bytes, advice)  # type: ignore[method-assign]
    form = bounded.form(max_files=4, max_fields=FIELDS, max_part_size=FIELD_BYTES)
    fields: dict[str, str] = {}
    async with form as parts:
        for name, part in parts.multi_items():
            if not isinstance(part, StarletteUpload | UploadFile):
                fields[name] = part
            elif name == file_field:
                await run_in_threadpool(_copy, part, folder / "file")
            else:
                fields[name] = await _text(part, name)
    if not (folder / "file").exists():
        raise ValidationError(f"The form has no file `{file_field}`.")
    return fields


async def _bounded(request: Request, most_bytes: int, advice: str) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most_bytes + FORM_OVERHEAD_BYTES:
            raise BodyTooLargeError(
                f"An upload may have at most {most_bytes} bytes. {advice}", limit=most_bytes
            )
        yield chunk


def _copy(part: StarletteUpload, target: Path) -> None:
    with target.open("xb") as out:
        shutil.copyfileobj(part.file, out, 1 << 20)


async def _text(part: StarletteUpload, name: str) -> str:
    content = await part.read(FIELD_BYTES + 1)
    try:
        if len(content) > FIELD_BYTES:
            raise ValueError("too long")
        return content.decode()
    except ValueError as error:
        raise ValidationError(f"The field `{name}` is no UTF-8 text of 2 MiB at most.") from error
