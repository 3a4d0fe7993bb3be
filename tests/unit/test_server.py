"""The socket that the API listens on."""

from __future__ import annotations

import asyncio
import socket

from app.server import _listen


def test_answers_are_not_held_back_for_an_acknowledgement() -> None:
    """With Nagle's algorithm on, every answer of a keep-alive connection takes 40 ms longer."""

    async def accepted() -> int:
        met: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            own: socket.socket = writer.get_extra_info("socket")
            met.set_result(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = _listen("127.0.0.1", 0)
        server = await asyncio.start_server(meet, sock=listener)
        _, writer = await asyncio.open_connection(*listener.getsockname())
        try:
            return await met
        finally:
            writer.close()
            server.close()

    assert asyncio.run(accepted())
