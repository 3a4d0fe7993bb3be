"""Unpacks an imagefolder archive into a folder that appears only when it is whole and right."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from app.datasets.checksums import read_checksums
from app.datasets.ledger import Ledger, TakenError
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
        with members_of(archive) as members, Ledger() as ledger:
            read_checksums(members, ledger, _raise)
            count = _write_all(members, ledger, staging, on_file or (lambda files: None))
        staging.rename(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return count


def is_dataset(folder: Path) -> bool:
    """True for a folder that was made here, and may be replaced by another."""
    return (folder / DESCRIPTION).is_file() and (folder / CHECKSUMS).is_file()


def _write_all(members: Members, ledger: Ledger, folder: Path, on_file: OnFile) -> int:
    parents: set[str] = set()
    count = 0
    for member in members:
        if member.refusal:
            raise DamagedError(f"{member.path!r} {member.refusal}")
        expected = _expected(ledger, member.path)
        _make_parent(folder, member.path, parents)
        if _write(members, member, folder) != expected and expected is not None:
            raise DamagedError(f"{member.path!r} is not the file that {CHECKSUMS} lists")
        count += 1
        on_file(count)
    missing = next(ledger.left(), None)
    if missing is not None:
        raise DamagedError(f"{missing!r} is listed in {CHECKSUMS} but missing")
    return count


def _expected(ledger: Ledger, path: str) -> bytes | None:
    """The hash the file must have; none for the list of hashes itself."""
    try:
        expected = ledger.take(path)
    except TakenError as error:
        raise DamagedError(f"{path!r} is there more than once") from error
    if expected is None and path != CHECKSUMS:
        raise DamagedError(f"{path!r} is not listed in {CHECKSUMS}")
    return expected


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
            for chunk in members.chunks(member):
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
