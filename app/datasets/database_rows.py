"""The rows of a job in the table `samples`: written by the driver's fastest way, read by index."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import psycopg
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.datasets.manifest import FIELDS, Records, SampleRow, StoredRow, records_of
from app.db.tables import Sample, Shard

_COLUMNS = ("job_number", "shard", *FIELDS)
_PACKED = ("cell", "candidate", "offset", "length")
"""What a row of SQLite's fast way has in one number of at most 63 bits."""


@dataclass(frozen=True, slots=True)
class DatabaseRows:
    """The rows of one job, by its number."""

    job_number: int

    def read(
        self, session: Session, after: int, limit: int, cells: Sequence[int] | None = None
    ) -> list[StoredRow]:
        """At most `limit` rows with an index above `after`, of these cells, in order of index."""
        table = Sample.__table__.c
        query = (
            sa.select(table.shard, *(table[name] for name in FIELDS))
            .where(table.job_number == self.job_number, table.index > after)
            .order_by(table.index)
            .limit(limit)
        )
        if cells is not None:
            query = query.where(table.cell.in_(cells))
        found = session.execute(query).all()
        # Not joined: what a shard says of its rows would be read anew for each of them.
        shards = self._stored_shards(session, {shard for shard, *_ in found})
        return [
            StoredRow(SampleRow(*sample), shard, *shards[shard])
            for shard, *sample in found
            if shard in shards  # swept in between otherwise
        ]

    def records(self, session: Session, first: int, end: int, names: Sequence[str]) -> Records:
        """These fields of the rows first … end - 1, in order of index, as far as they are there."""
        table = Sample.__table__.c
        query = (
            sa.select(*(table[name] for name in names))
            .where(table.job_number == self.job_number, table.index.between(first, end - 1))
            .order_by(table.index)
        )
        # The driver's own rows: making ours of them would take as long as reading them.
        cursor = session.connection().execute(query).cursor
        assert cursor is not None
        rows = cursor.fetchall()
        columns = zip(*rows, strict=True) if rows else [()] * len(names)
        found = {name: _column(name, each) for name, each in zip(names, columns, strict=True)}
        return records_of(found, len(rows))

    def _stored_shards(self, session: Session, indices: set[int]) -> dict[int, tuple[str, Any]]:
        if not indices:
            return {}
        query = sa.select(Shard.index, Shard.object_key, Shard.done_at).where(
            Shard.job_number == self.job_number,
            Shard.index.between(min(indices), max(indices)),
            Shard.done_at.is_not(None),
        )
        return {index: (key or "", moment) for index, key, moment in session.execute(query)}


def _column(name: str, values: Sequence[Any]) -> NDArray[Any]:
    kind = np.dtype(FIELDS[name])
    return np.frombuffer(b"".join(values), kind) if kind.kind == "V" else np.array(values, kind)


def insert_samples(session: Session, job_number: int, shard: int, rows: Records) -> None:
    """Insert a shard's rows: no ORM object, no dictionary and no tuple a sample.

    Raises what SQLAlchemy raises: IntegrityError for a doubled index, for example.
    """
    if not len(rows):
        return  # a shard of a job with fewer samples of each class than shards
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        _copy(connection, _binary_copy(job_number, shard, rows))
    elif widths := _widths(rows):
        _insert_packed(connection, job_number, shard, rows, widths)
    else:
        row = f"VALUES ({job_number:d}, {shard:d}{', ?' * len(FIELDS)})"
        connection.exec_driver_sql(f"INSERT INTO samples ({_names()}) {row}", rows.tolist())


def _copy(connection: sa.Connection, content: bytes) -> None:
    raw = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    statement = f"COPY samples ({_names()}) FROM STDIN (FORMAT BINARY)"
    try:
        with raw.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(content)
    except psycopg.Error as error:  # past SQLAlchemy, which would have named it its own way
        raise sa.exc.DBAPIError.instance(
            statement, None, error, psycopg.Error, dialect=connection.dialect
        ) from error


def _widths(rows: Records) -> list[int] | None:
    """Bits of each of `_PACKED`; None where rows have gaps between them or too many bits."""
    index = rows["index"]
    if (np.diff(index) != 1).any() or any(rows[name].min() < 0 for name in _PACKED):
        return None
    widths = [int(rows[name].max()).bit_length() for name in _PACKED]
    return widths if sum(widths) <= 63 else None


def _insert_packed(
    connection: sa.Connection, job_number: int, shard: int, rows: Records, widths: list[int]
) -> None:
    """Insert rows that follow each other on SQLite, by one statement with a few parameters.

    To take values one by one out of Python is half of what an insert costs otherwise. `json_each`
    hands out one number a row; digests are cut out of all of them, one after the other.
    """
    packed = np.zeros(len(rows), np.int64)
    columns, shift = [], 0
    for name, width in zip(_PACKED, widths, strict=True):
        packed |= rows[name].astype(np.int64) << shift
        columns.append(f"value >> {shift} & {(1 << width) - 1}")
        shift += width
    digests = ["substr(?, 32 * key + 1, 32)"] * 2
    connection.exec_driver_sql(
        f"INSERT INTO samples ({_names()}) "  # noqa: S608
        f"SELECT ?, ?, ? + key, {', '.join([*columns, *digests])} FROM json_each(?)",
        (
            *(job_number, shard, int(rows["index"][0])),
            *(rows[name].tobytes() for name in ("file_sha256", "pixel_sha256")),
            json.dumps(packed.tolist()),
        ),
    )


def _names() -> str:
    return ", ".join(f'"{column}"' for column in _COLUMNS)


def _binary_copy(job_number: int, shard: int, rows: Records) -> bytes:
    """Rows as PostgreSQL's COPY reads them in its binary format.

    A signature and two empty words; then of each row the number of its fields, and of each field
    its length before its value, all big-endian; then -1. As every column has a fixed width and
    none is null, the rows are one array of equal records, and nothing is done row by row.
    https://www.postgresql.org/docs/current/sql-copy.html
    """
    types: dict[str, np.dtype[Any]] = {"job_number": np.dtype("i8"), "shard": np.dtype("i4")}
    types |= {name: rows.dtype[name] for name in FIELDS}
    layout: list[tuple[str, Any]] = [("fields", ">i2")]
    for name in _COLUMNS:
        layout += [(f"length of {name}", ">i4"), (name, types[name].newbyteorder(">"))]
    records = np.empty(len(rows), layout)
    records["fields"] = len(_COLUMNS)
    for name in _COLUMNS:
        records[f"length of {name}"] = types[name].itemsize
    for name in FIELDS:
        records[name] = rows[name]
    records["job_number"], records["shard"] = job_number, shard
    return b"PGCOPY\n\xff\r\n\0" + bytes(8) + records.tobytes() + b"\xff\xff"
