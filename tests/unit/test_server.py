"""The socket that the API listens on, and the one between a server and its workers."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

from app.server import _listen
from app.supervisor import BEGIN

ROOT = Path(__file__).parents[2]


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


def test_a_child_hears_its_parents_word_and_ends_with_it() -> None:
    program = (
        "from app.parent import stop_with_parent; word = stop_with_parent(); "
        "print(word.is_set(), flush=True); word.wait(); print(word.is_set(), flush=True); "
        "word.clear(); word.wait()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        assert child.stdout.readline() == b"False\n"
        child.stdin.write(BEGIN)
        child.stdin.flush()
        assert child.stdout.readline() == b"True\n"
        child.stdin.close()
        assert child.wait(30) == -signal.SIGTERM
