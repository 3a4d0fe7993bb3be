"""Files of torch.save, both formats: the object inside, and where each storage's bytes lie."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, Final, NamedTuple

from models.importing.archive import (
    Member,
    check_crc,
    content_of,
    find_root,
    read_members,
)
from models.importing.errors import Kind, UnsupportedCheckpointError
from models.importing.globals import storage_dtype
from models.importing.pickles import Budget, read_pickle
from models.importing.values import ITEM_BYTES, UNTYPED, Global, Storage

PICKLE_BYTES: Final = 8 << 20
MAGIC_NUMBER: Final = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION: Final = 1001
STORAGES: Final = 50_000


class Contents(NamedTuple):
    """A file's object, and for each storage key its bytes [offset, offset + size)."""

    value: Any
    regions: dict[str, tuple[int, int]]
    locations: tuple[str, ...]


class Storages:
    """Storages that the pickle declares, by key; two declarations of one key must agree."""

    def __init__(self) -> None:
        self.declared: dict[str, Storage] = {}

    def resolve(self, identifier: Any) -> Any:
        """A persistent id: ("storage", class, key, location, numel[, view])."""
        if not isinstance(identifier, tuple) or not identifier:
            raise _damaged("the pickle refers to no storage")
        if identifier[0] == "module" and len(identifier) > 1:
            kind = identifier[1].path if isinstance(identifier[1], Global) else ""
            raise UnsupportedCheckpointError(Kind.PICKLED_MODULE, kind)
        if identifier[0] not in ("storage", b"storage") or len(identifier) not in (5, 6):
            raise _damaged("the pickle refers to no storage")
        _, kind, key, location, numel, *view = identifier
        dtype = storage_dtype(kind)
        if dtype is None or not isinstance(key, str) or type(numel) is not int or numel < 0:
            raise _damaged("the pickle describes a storage wrongly")
        if view and view[0] is not None:
            raise UnsupportedCheckpointError(Kind.BAD_TENSOR, "a storage that views another")
        return self._declare(Storage(key, dtype, numel, str(location)[:64]))

    def _declare(self, storage: Storage) -> Storage:
        known = self.declared.setdefault(storage.key, storage)
        if nbytes(known) != nbytes(storage) or len(self.declared) > STORAGES:
            raise _damaged(f"storage {storage.key[:40]} is described in two ways")
        return storage

    def locations(self) -> tuple[str, ...]:
        """Devices that the tensors were saved on."""
        return tuple(sorted({storage.location for storage in self.declared.values()}))[:8]


def nbytes(storage: Storage) -> int:
    """Bytes of a storage."""
    return storage.numel * (1 if storage.dtype == UNTYPED else ITEM_BYTES[storage.dtype])


def read_zip(stream: BinaryIO, size: int) -> Contents:
    """A file of torch.save since 1.6: a zip archive with data.pkl and one member a storage."""
    members = read_members(stream, size)
    root = find_root(members)
    order = members.get(f"{root}byteorder")
    if order and content_of(stream, order, 16) != b"little":
        raise UnsupportedCheckpointError(Kind.DTYPE, "big-endian numbers")
    storages = Storages()
    pickle = io.BytesIO(content_of(stream, members[f"{root}data.pkl"], PICKLE_BYTES))
    value = read_pickle(pickle, Budget(), storages.resolve)
    regions = {}
    for key, storage in storages.declared.items():
        name = f"{root}data/{key}"
        regions[key] = _region(stream, name, members.get(name), nbytes(storage))
    return Contents(value, regions, storages.locations())


def _region(stream: BinaryIO, name: str, member: Member | None, wanted: int) -> tuple[int, int]:
    if member is None:
        raise _damaged(f"{name[:80]} is missing from the archive")
    if member.size != wanted:
        raise UnsupportedCheckpointError(
            Kind.BAD_TENSOR, f"{name[:80]} has {member.size} bytes where {wanted} are declared"
        )
    check_crc(stream, name, member)
    return member.offset, member.size


def read_legacy(stream: BinaryIO, size: int) -> Contents:
    """A file of torch.save before 1.6: five pickles, then the storages one after the other.

    Each storage is its number of items as int64, little-endian, and the items.
    """
    stream.seek(0)
    pickles = io.BytesIO(stream.read(min(size, PICKLE_BYTES)))
    budget, storages = Budget(), Storages()
    if read_pickle(pickles, budget, storages.resolve) != MAGIC_NUMBER:
        raise UnsupportedCheckpointError(Kind.PLAIN_PICKLE)
    if read_pickle(pickles, budget) != PROTOCOL_VERSION:
        raise _damaged("it has an unknown version of the format")
    system = read_pickle(pickles, budget)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise UnsupportedCheckpointError(Kind.DTYPE, "big-endian numbers")
    value = read_pickle(pickles, budget, storages.resolve)
    keys = read_pickle(pickles, budget)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise _damaged("its list of storages is no list")
    if set(keys) != set(storages.declared) or len(set(keys)) != len(keys):
        raise _damaged("its list of storages is not that of its tensors")
    return Contents(
        value, _follow(stream, pickles.tell(), size, keys, storages), storages.locations()
    )


def _follow(
    stream: BinaryIO, position: int, size: int, keys: list[str], storages: Storages
) -> dict[str, tuple[int, int]]:
    regions = {}
    for key in keys:
        storage = storages.declared[key]
        stream.seek(position)
        numel = int.from_bytes(stream.read(8), "little", signed=True)
        position += 8
        if numel != storage.numel or position + nbytes(storage) > size:
            raise _damaged(f"storage {key[:40]} is shorter or longer than declared")
        regions[key] = (position, nbytes(storage))
        position += nbytes(storage)
    return regions


def _damaged(detail: str) -> UnsupportedCheckpointError:
    return UnsupportedCheckpointError(Kind.DAMAGED, detail)
