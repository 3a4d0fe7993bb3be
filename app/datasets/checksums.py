"""Reads `SHA256SUMS`, the list of all other files of a dataset and their hashes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from app.datasets.ledger import Ledger
from app.datasets.members import CHECKSUMS, DamagedError, Members
from models.corpus.zip_safety import PATH_BYTES_LIMIT, refusal_of

LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)")
LINE_BYTES_LIMIT = 64 + 2 + PATH_BYTES_LIMIT


def read_checksums(members: Members, ledger: Ledger, report: Callable[[str], None]) -> None:
    """Fills the ledger. Bad lines are reported and left out; `DamagedError` without the file."""
    for number, line in enumerate(_lines(members), start=1):
        match = LINE.fullmatch(line)
        if match is None or refusal_of(match.group(2)):
            report(f"Line {number} of {CHECKSUMS} is not a hash and a file name.")
        elif not ledger.add(match.group(2), bytes.fromhex(match.group(1))):
            report(f"Line {number} of {CHECKSUMS} lists a file a second time.")


def _lines(members: Members) -> Iterator[str]:
    member = next((member for member in members if member.path == CHECKSUMS), None)
    if member is None:
        raise DamagedError("is missing")
    if member.refusal:
        raise DamagedError(member.refusal)
    rest = b""
    for chunk in members.chunks(member):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")
        if len(rest) > LINE_BYTES_LIMIT:
            raise DamagedError("has a line that is too long")
    if rest:
        yield rest.decode("utf-8", "replace")
