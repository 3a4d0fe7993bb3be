"""Which entries of a zip archive, and which names, are safe to look at."""

from __future__ import annotations

import stat
from typing import Final

from models.corpus.zip_reader import DEFLATED, ENCRYPTED, STORED, Entry

NAME_BYTES_LIMIT: Final = 255
PATH_BYTES_LIMIT: Final = 4096


def refusal_of(path: str) -> str:
    """Why a name must not be used inside a folder, or nothing."""
    if len(path.encode("utf-8", "surrogatepass")) > PATH_BYTES_LIMIT:
        return "has a name that is too long"
    if not path.isprintable() or "\\" in path or ":" in path:
        return "has characters in its name that are not safe on every system"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "would leave the folder it is unpacked to"
    if any(len(part.encode("utf-8")) > NAME_BYTES_LIMIT for part in parts):
        return "has a name that is too long"
    return ""


def refusal_of_entry(entry: Entry, name: str) -> str:
    """Why an entry must not be opened, or nothing."""
    kind = stat.S_IFMT(entry.mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if entry.flags & ENCRYPTED:
        return "is encrypted"
    if entry.method not in (STORED, DEFLATED):
        return "is compressed by a method that is not read here"
    return refusal_of(name[:-1] if is_folder(entry, name) else name)


def is_folder(entry: Entry, name: str) -> bool:
    """Whether an entry only says that a folder is there."""
    return name.endswith("/") and entry.bytes == 0
