"""Somebody's server that gets webhooks: real, on the loopback interface."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Received:
    """One request: its headers, by their names in small letters, and its body."""

    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What a test sets, and what arrived."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    """Answers, first come first served; 200 after the last."""
    location: str = ""
    """Of every answer, if it is set."""
    seen: list[Received] = field(default_factory=list)
    on_request: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook?to=me"


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.receiver.seen.append(Received(headers, body))
        self.receiver.on_request()
        self.send_response(self.receiver.statuses.pop(0) if self.receiver.statuses else 200)
        if self.receiver.location:
            self.send_header("Location", self.receiver.location)
        self.send_header("Content-Length", str(1 << 40))  # more than anybody would read
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _BothFamilies(ThreadingHTTPServer):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens on a free port of both loopback addresses."""
    receiver = Receiver()
    handler = type("Handler", (_Handler,), {"receiver": receiver})
    with _BothFamilies(("::", 0), handler) as server:
        server.daemon_threads = True
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()
