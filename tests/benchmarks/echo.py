"""A server that does nothing: `python -m tests.benchmarks.echo PORT BYTES`.

It answers every request with as many bytes as a real answer has. What the clients reach against it
is their own ceiling (and this server's), which must lie far above what is measured with them.
"""

from __future__ import annotations

import asyncio
import sys

import httptools


class _Answer(asyncio.Protocol):
    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        assert self._transport is not None
        self._transport.write(self._answer)


async def serve(port: int, size: int) -> None:
    """Answer until the process is ended."""
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + bytes(size)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Answer(answer), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*(int(argument) for argument in sys.argv[1:])))
