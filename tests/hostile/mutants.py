"""Files made of others by chance: bits turned, pieces cut, doubled, moved and put together."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save

from tests.hostile.building import legacy, saved, state_dict, zipped
from tests.hostile.corpus import cases

SEED_BYTES = 200_000
NUMBERS = (b"\x00" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\xff" * 8)


def seeds(marker: Path) -> list[bytes]:
    """Good files of each format, and the corpus; what is large would only make it slow."""
    state = state_dict()
    good = [saved(state), saved({"netG": state, "epoch": 3}), legacy(state), save(dict(state))]
    hostile = [case.make(marker) for case in cases()]
    return good * 10 + [content for content in hostile if 0 < len(content) <= SEED_BYTES]


def mutant(pool: Sequence[bytes], chance: random.Random) -> bytes:
    """One of the pool, changed once to eight times; inside of a zip archive every other time."""
    content = chance.choice(pool)
    if content.startswith(b"PK\x03\x04") and chance.random() < 0.7:
        return _inside(content, pool, chance)
    for _ in range(chance.randint(1, 8)):
        content = _change(content, pool, chance)
    return content


def _inside(content: bytes, pool: Sequence[bytes], chance: random.Random) -> bytes:
    """A member changed and its checksum made right, so that the reader of pickles meets it."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
    except Exception:
        return _change(content, pool, chance)
    names = [name for name in members if name.endswith(".pkl")] or list(members)
    name = chance.choice(names if chance.random() < 0.8 else list(members))
    for _ in range(chance.randint(1, 4)):
        members[name] = _change(members[name], pool, chance)
    return zipped(members)


def _change(content: bytes, pool: Sequence[bytes], chance: random.Random) -> bytes:
    at, to = sorted((chance.randint(0, len(content)), chance.randint(0, len(content))))
    way = chance.randrange(7)
    if way == 0 and content:
        at = min(at, len(content) - 1)
        return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]
    if way == 1:
        return content[:to]
    if way == 2:
        return content[:at] + content[to:]
    if way == 3:
        return content[:to] + content[at : at + 4096] + content[to:]
    if way == 4:
        number = chance.choice(NUMBERS)
        return content[:at] + number + content[at + len(number) :]
    if way == 5:
        other = chance.choice(pool)
        begin = chance.randint(0, len(other))
        return content[:at] + other[begin : begin + 4096] + content[to:]
    return content[:at] + chance.randbytes(chance.randint(1, 16)) + content[at:]
