"""HTTP/1.1 as the API reads it: uvicorn's faster protocol, which refuses less than it should.

uvicorn reads HTTP with h11 or with httptools (llhttp, the parser of Node.js, in its strict mode).
The second is far faster, but it takes heads of any size, requests without a host, encodings of a
body that nobody undoes, and fields behind a body as if they stood before it. What h11 refuses of
that is refused here; two lengths of one body llhttp refuses itself.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 16 << 10
"""Of a request's line and fields; the same holds for what stands between the pieces of a body."""
MOST_PIPELINED = 16
"""Requests of one connection that wait for the answer to the one before."""


class _RefusedError(Exception):
    """The parser, in whose calls this is raised, fails by it; the answer is 400."""


class StrictHttp(HttpToolsProtocol):
    """One connection. See uvicorn's `Config.http`."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._read_bytes = 0
        """Since a request began, or a piece of its body came."""
        self._in_head = False

    def data_received(self, data: bytes) -> None:
        """Feed the parser; it keeps an unfinished field, however long it gets."""
        self._read_bytes += len(data)
        super().data_received(data)
        if self._read_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """A request begins."""
        if len(self.pipeline) >= MOST_PIPELINED:
            raise _RefusedError("too many requests at once")
        self._read_bytes = 0
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; one behind the body could pretend to be one, and is dropped."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: refuse it, or begin to answer."""
        self._in_head = False
        self._check_head()
        super().on_headers_complete()
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False  # the parser reads nothing more of this connection

    def on_chunk_header(self) -> None:
        """A piece of a body begins."""
        self._read_bytes = 0

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._read_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        self._read_bytes = 0
        super().on_message_complete()

    def _check_head(self) -> None:
        size, hosts, encodings = len(self.url), 0, []
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding":
                encodings.append(value.lower())
        new = self.parser.get_http_version() == "1.1"
        if size > MOST_HEAD_BYTES:
            raise _RefusedError("the head is too large")
        if hosts != 1 and (new or hosts):
            raise _RefusedError("one host must be named")
        if encodings and (encodings != [b"chunked"] or not new):
            raise _RefusedError("an encoding of the body that is not undone")
