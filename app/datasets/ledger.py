"""File names and hashes still to be met, on disk when they are many."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Self


class TakenError(Exception):
    """The path was taken before."""


class Ledger:
    """Path to SHA-256, each to be taken once. A private SQLite database, gone when closed.

    SQLite keeps a few MB of it in memory and the rest in an unnamed temporary file.
    """

    def __init__(self) -> None:
        # "" is SQLite's name for a database that is temporary and may be on disk.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(
            "CREATE TABLE files (path TEXT PRIMARY KEY, sha256 BLOB, taken INTEGER DEFAULT 0)"
            " WITHOUT ROWID"
        )
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, path: str, sha256: bytes) -> bool:
        """False when the path is there already."""
        statement = "INSERT OR IGNORE INTO files (path, sha256) VALUES (?, ?)"
        with closing(self._database.execute(statement, (path, sha256))) as cursor:
            return cursor.rowcount == 1

    def take(self, path: str) -> bytes | None:
        """The hash, or None when no such path was added; `TakenError` the second time."""
        if not path.isprintable():  # can't have been added, and may be no text for SQLite
            return None
        statement = "SELECT sha256, taken FROM files WHERE path = ?"
        row = self._database.execute(statement, (path,)).fetchone()
        if row is None:
            return None
        sha256, taken = row
        if taken:
            raise TakenError(path)
        self._database.execute("UPDATE files SET taken = 1 WHERE path = ?", (path,))
        return bytes(sha256)

    def left(self) -> Iterator[str]:
        """The paths that were not taken, in order."""
        statement = "SELECT path FROM files WHERE NOT taken ORDER BY path"
        for (path,) in self._database.execute(statement):
            yield path
