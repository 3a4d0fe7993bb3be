"""The folders of a run: each attempt works in its own, and goes on from where the last one was.

An attempt that was taken over may still live, and still write. It does so in its own folder, so
that nothing of the one that counts is ever touched.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from app.db.tables import Run
from app.runs.lifecycle import Lease, attempt_folder, run_folder
from app.runs.messages import KEPT
from app.storage import PART, LocalStorage, storage_error


def adopt(storage: LocalStorage, lease: Lease) -> Path:
    """The folder of a new attempt, with a copy of all that the last one has written.

    It appears under its name when it is whole. The folders of earlier attempts are removed.
    """
    own = storage.path(lease.folder)
    part = own.with_name(own.name + PART)
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        earlier = _attempts(own.parent)
        if earlier:
            _copy(earlier[-1], part)
        part.rename(own)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise storage_error(error) from error
    for folder in earlier:
        shutil.rmtree(folder, ignore_errors=True)
    return own


def file_of(storage: LocalStorage, run: Run, name: str) -> Path | None:
    """A file of the run's present or last attempt; None where there is none."""
    if run.token is None:
        return None
    path = storage.path(f"{attempt_folder(run.id, run.attempts, run.token)}/{name}")
    return path if path.is_file() else None


def clear(storage: LocalStorage, run: Run, keep: bool) -> None:
    """Remove the folders of a run that has ended; with `keep`, all but what stays."""
    base = storage.path(run_folder(run.id))
    last = f"{run.attempts:04d}-{run.token}" if keep and run.token else None
    for folder in _entries(base):
        if folder.name != last:
            _remove(folder)
            continue
        for entry in _entries(folder):
            if entry.name not in KEPT:
                _remove(entry)
    storage.prune(run_folder(run.id))


def _attempts(base: Path) -> list[Path]:
    """Folders of attempts that are whole, the last one last."""
    return sorted(folder for folder in _entries(base) if not folder.name.endswith(PART))


def _entries(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        return list(folder.iterdir())
    return []


def _copy(source: Path, target: Path) -> None:
    """Files as they are now; one that goes meanwhile was not meant to stay."""
    for path in _files(source):
        copied = target / path.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            shutil.copyfile(path, copied)


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder, without those that are being written: their names begin with a dot."""
    for entry in _entries(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files(entry)
        else:
            yield entry


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
