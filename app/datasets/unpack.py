"""Unpacks an imagefolder archive into a folder that appears only when it is whole and right."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from app.datasets.checksums import read_checksums
from app.datasets.members import CHECKSUMS, DESCRIPTION, DamagedError, Member, Members, members_of

OnFile = Callable[[int], None]
"""Called with the number of files written so far."""


def unpack(archive: Path, folder: Path, on_file: OnFile | None = None) -> int:
    """Writes every member to the new folder `folder` and returns their number.

    Only members that `SHA256SUMS` lists are written, each must have the hash listed there, and
    all listed must be there. On `DamagedError`, which names the file, nothing is left behind.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        staging.chmod(0o777 & ~_umask())
        with members_of(archive) as members:
            count = _write_all(members, staging, on_file or (lambda files: None))
        staging.rename(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return count


def is_dataset(folder: Path) -> bool:
    """True for a folder that was made here, and may be replaced by another."""
    return (folder / DESCRIPTION).is_file() and (folder / CHECKSUMS).is_file()


def _write_all(members: Members, folder: Path, on_file: OnFile) -> int:
    sums = read_checksums(members, _raise)
    parents: set[str] = set()
    count = 0
    for member in members:
        if member.refusal:
            raise DamagedError(f"{member.path!r} {member.refusal}")
        _make_parent(folder, member.path, parents)
        if member.path == CHECKSUMS:
            _write(members, member, folder)
        elif (expected := sums.pop(member.path, None)) is None:
            raise DamagedError(f"{member.path!r} is not listed in {CHECKSUMS}")
        elif _write(members, member, folder) != expected:
            raise DamagedError(f"{member.path!r} is not the file that {CHECKSUMS} lists")
        count += 1
        on_file(count)
    if sums:
        raise DamagedError(f"{next(iter(sums))!r} is listed in {CHECKSUMS} but missing")
    return count


def _make_parent(folder: Path, path: str, made: set[str]) -> None:
    parent = path.rpartition("/")[0]
    if parent in made:
        return
    try:
        (folder / parent).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise DamagedError(f"{path!r} is below the name of another file") from error
    made.add(parent)


def _write(members: Members, member: Member, folder: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        # "x": on a disk that takes A and a for one name, the second must not win.
        with open(f"{folder}/{member.path}", "xb", buffering=0) as file:  # noqa: PTH123 - faster
            for chunk in members.chunks(member.path):
                digest.update(chunk)
                file.write(chunk)
    except (FileExistsError, IsADirectoryError) as error:
        raise DamagedError(f"{member.path!r} has the name of another file") from error
    except DamagedError as error:
        raise DamagedError(f"{member.path!r} {error}") from error
    return digest.digest()


def _raise(sentence: str) -> None:
    raise DamagedError(sentence.rstrip("."))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
