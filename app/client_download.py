"""Fetches an archive to a file: resumed where it broke, checked, then renamed into place."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import httpx
from tenacity import Retrying

from app.client_errors import (
    DownloadCorruptError,
    NoSpaceError,
    ServerUnreachableError,
    UnexpectedAnswerError,
    problem_of,
)

if TYPE_CHECKING:
    from hashlib import _Hash

OnBytes = Callable[[int, int], None]
"""Called with bytes there and bytes in all."""

CHUNK_BYTES = 1 << 18
IDENTITY = {"Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Downloaded:
    """A file that is whole and right."""

    path: Path
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Offer:
    """What the service says of the archive before it sends it."""

    etag: str
    bytes: int
    sha256: str


def download_archive(
    http: httpx.Client,
    retrying: Retrying,
    url: str,
    path: Path,
    on_bytes: OnBytes | None = None,
) -> Downloaded:
    """The archive at `path`, or an error and whatever was at `path` before."""
    offer = retrying(_offer, http, url)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name holds the content's hash, so a part never continues another archive.
    part = path.with_name(f".{path.name}.{offer.sha256[:16]}.part")
    transfer = _Transfer(http, url, part, offer, on_bytes or (lambda done, total: None))
    while transfer.incomplete:
        start = part.stat().st_size if part.exists() else 0
        try:
            retrying(transfer.continue_once)
        except ServerUnreachableError:
            # Give up only when a whole round of attempts brought nothing.
            if not part.exists() or part.stat().st_size <= start:
                raise
    transfer.check()
    part.replace(path)
    return Downloaded(path, offer.bytes, offer.sha256)


def _offer(http: httpx.Client, url: str) -> Offer:
    try:
        response = http.head(url, headers=IDENTITY)
        if not response.is_success:
            # A HEAD has no body to explain itself with; the same GET has.
            with http.stream("GET", url, headers=IDENTITY | {"Range": "bytes=0-0"}) as refused:
                refused.read()
                raise problem_of(refused)
    except httpx.RequestError as error:
        raise ServerUnreachableError(str(http.base_url), "connection lost") from error
    digest = re.search(r"\bsha-256=:([A-Za-z0-9+/=]{44}):", response.headers.get("Repr-Digest", ""))
    length = response.headers.get("Content-Length", "")
    if digest is None or not length.isdigit():
        raise UnexpectedAnswerError(
            f"{response.request.url} offers a file without its size and SHA-256; check that the "
            "address is that of a Synthloom service."
        )
    sha256 = base64.b64decode(digest.group(1)).hex()
    return Offer(response.headers.get("ETag", ""), int(length), sha256)


class _Transfer:
    """The part file, and the hash of what is in it."""

    def __init__(
        self, http: httpx.Client, url: str, part: Path, offer: Offer, on_bytes: OnBytes
    ) -> None:
        self._http = http
        self._url = url
        self._part = part
        self._offer = offer
        self._on_bytes = on_bytes
        self._done = 0
        self._hash: _Hash = hashlib.sha256()
        self._read_what_is_there()

    @property
    def incomplete(self) -> bool:
        return self._done < self._offer.bytes

    def continue_once(self) -> None:
        """One request for what is missing; a broken one keeps what it brought."""
        headers = dict(IDENTITY)
        if self._done and self._offer.etag:
            headers |= {"Range": f"bytes={self._done}-", "If-Range": self._offer.etag}
        try:
            with self._http.stream("GET", self._url, headers=headers) as response:
                self._place(response)
                self._append(response)
        except httpx.RequestError as error:
            raise ServerUnreachableError(str(self._http.base_url), "connection lost") from error
        except OSError as error:
            raise _disk_error(self._part, error) from error
        if self.incomplete:
            raise ServerUnreachableError(str(self._http.base_url), "it stopped sending")

    def check(self) -> None:
        """Raises, and discards the part, when the bytes are not those that were offered."""
        found = self._hash.hexdigest()
        if self._done != self._offer.bytes or found != self._offer.sha256:
            self._discard(f"has SHA-256 {found[:16]}… and not {self._offer.sha256[:16]}…")

    def _discard(self, reason: str) -> NoReturn:
        self._part.unlink(missing_ok=True)
        raise DownloadCorruptError(
            f"The download of {self._url} {reason}, so it was discarded; download it again."
        )

    def _read_what_is_there(self) -> None:
        if not self._part.exists():
            return
        if self._part.stat().st_size > self._offer.bytes:
            self._part.unlink()
            return
        with self._part.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                self._hash.update(chunk)
                self._done += len(chunk)

    def _place(self, response: httpx.Response) -> None:
        """Starts over unless the response continues where the part ends."""
        if response.status_code == httpx.codes.PARTIAL_CONTENT:
            span = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if span is not None and int(span.group(1)) == self._done:
                return
            raise UnexpectedAnswerError(
                f"{response.request.url} sent another range than was asked for; remove "
                f"{self._part} and download again."
            )
        if response.status_code != httpx.codes.OK:
            response.read()
            raise problem_of(response)
        if response.headers.get("ETag", "") != self._offer.etag:
            self._discard("changed on the way")
        self._done = 0
        self._hash = hashlib.sha256()
        self._part.unlink(missing_ok=True)

    def _append(self, response: httpx.Response) -> None:
        missing = self._offer.bytes - self._done
        if shutil.disk_usage(self._part.parent).free < missing:
            raise NoSpaceError(
                f"{self._part.parent} has no room for {missing:,} more bytes; free some, or "
                "download to another disk."
            )
        with self._part.open("ab") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                self._hash.update(chunk)
                self._done += len(chunk)
                if self._done > self._offer.bytes:
                    break
                self._on_bytes(self._done, self._offer.bytes)
            file.flush()
            os.fsync(file.fileno())


def _disk_error(part: Path, error: OSError) -> NoSpaceError:
    return NoSpaceError(
        f"{part.parent} can't be written ({error.strerror or error}); free some space, or "
        "download to another disk."
    )
