"""Bytes that are hardly HTTP, sent to a real server: refused, and the next one is served."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import httpx
import pytest

from tests.harness import Server

Talk = Callable[[bytes], bytes]
GOOD = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
POST = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture
def talk(server: Server) -> Iterator[Talk]:
    """Send bytes on a connection of their own; returns all that comes back until it closes."""
    address = urlsplit(server.url)

    def send(payload: bytes) -> bytes:
        with closing(socket.create_connection((address.hostname, address.port), 30)) as peer:
            try:
                peer.sendall(payload)
                peer.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError, OSError):
                pass  # refused before all of it was read
            return _received(peer)

    yield send
    assert send(GOOD).startswith(b"HTTP/1.1 200 ")
    assert server.running


def _received(peer: socket.socket) -> bytes:
    chunks = []
    try:
        while chunk := peer.recv(1 << 16):
            chunks.append(chunk)
    except ConnectionResetError:
        pass
    return b"".join(chunks)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.mark.parametrize(
    "payload",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # a TLS hello
        b"GET\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",  # no host
        b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nFolded: a\r\n\tb\x00\r\n\r\n",
        b"GET /li vez HTTP/1.1\r\nHost: x\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n{}",
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
        POST + b"Content-Length: x\r\n\r\n{}",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: gzip\r\n\r\n{}",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nNul: \x00\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(talk: Talk, payload: bytes) -> None:
    assert status(talk(payload)) in (0, 400, 401, 413, 414, 431, 501)


def test_a_second_request_cannot_hide_in_a_body(talk: Talk) -> None:
    """Two lengths for one body: whatever is believed, only one answer may come back."""
    hidden = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % (5 + len(hidden))
    answer = talk(POST + head + b"0\r\n\r\n" + hidden)
    assert status(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b'"alive"' not in answer


@pytest.mark.parametrize("length", [b"1", b"1000000"])
def test_a_body_that_is_not_as_long_as_announced(talk: Talk, server: Server, length: bytes) -> None:
    with server.client() as client:
        before = client.get("/v1/jobs?limit=200").json()
    body = b'{"model": "fashion-cgan", "samples_per_class": 1}'
    key = b"Authorization: Bearer " + server.key.encode() + b"\r\n"
    answer = talk(POST + key + b"Content-Length: " + length + b"\r\n\r\n" + body)
    assert status(answer) in (0, 400)
    with server.client() as client:
        assert client.get("/v1/jobs?limit=200").json() == before


def test_many_small_headers_are_bounded(talk: Talk) -> None:
    lines = b"".join(b"X-%d: x\r\n" % k for k in range(20_000))
    assert status(talk(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n")) in (0, 400, 431)


def test_fields_behind_a_body_mean_nothing_and_are_bounded(talk: Talk, server: Server) -> None:
    """A key there would come from whoever wrote the body, not from who wrote the head."""
    key = b"Authorization: Bearer " + server.key.encode() + b"\r\n"
    chunked = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    assert status(talk(chunked + key + b"\r\n")) == 401
    assert status(talk(chunked + b"X: " + b"x" * 2_000_000)) in (0, 400, 401)


def test_more_at_once_than_one_may_ask_is_refused(talk: Talk) -> None:
    answer = talk(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 2_000)
    assert answer.count(b"HTTP/1.1 200 ") < 100


def test_whoever_would_rather_talk_otherwise_is_answered_all_the_same(talk: Talk) -> None:
    answer = talk(GOOD.replace(b"close\r\n", b"Upgrade\r\nUpgrade: h2c\r\n"))
    assert status(answer) == 200
    assert b"connection: close" in answer.lower()


def test_a_client_that_leaves_is_forgotten(http: httpx.Client, server: Server) -> None:
    """Half a request, then gone, many times: no error in the log, no connection that stays."""
    address = urlsplit(server.url)
    for cut in (1, 10, 30, 60, 100):
        payload = (POST + b"Content-Length: 500\r\n\r\n{")[:cut]
        with closing(socket.create_connection((address.hostname, address.port), 30)) as peer:
            peer.sendall(payload)
    assert http.get("/v1/jobs").status_code == 200
    assert "Traceback" not in server.log


def test_nothing_so_far_was_an_error_of_the_server(http: httpx.Client, server: Server) -> None:
    assert http.get("/readyz").status_code == 200
    assert "Traceback" not in server.log
    assert server.key not in server.log
