"""Where a worker answers the API."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import cast

import httpx
import pytest

from app.errors import ConfigurationError
from app.generation_server import Engine, GenerationServer, Transform, Try
from app.wire import GENERATE_PATH

NO_ENGINE = cast("Engine", None)
NO_TRIALS = cast("Try", None)
NO_TRANSFORMS = cast("Transform", None)


@pytest.mark.parametrize("listen", ["0.0.0.0:0", ":0", "[::]:9000"])
def test_an_address_that_nobody_could_ask_is_refused(listen: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="name under which this machine is reached"):
        GenerationServer(NO_ENGINE, NO_TRIALS, NO_TRANSFORMS, listen, tmp_path, "worker")


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000", "nowhere.invalid:0"])  # noqa: E501  # fmt: skip
def test_an_address_that_can_t_be_had_is_refused(listen: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="SYNTHLOOM_WORKER_LISTEN"):
        GenerationServer(NO_ENGINE, NO_TRIALS, NO_TRANSFORMS, listen, tmp_path, "worker")


def test_a_free_port_is_named_and_asks_for_the_token(tmp_path: Path) -> None:
    server = GenerationServer(
        NO_ENGINE, NO_TRIALS, NO_TRANSFORMS, "127.0.0.1:0", tmp_path, "worker"
    )
    server.start()
    try:
        with httpx.Client(
            base_url=server.address, trust_env=False, transport=httpx.HTTPTransport(retries=5)
        ) as client:
            assert client.post(GENERATE_PATH).status_code == 401
            told = {"Authorization": f"Bearer {server.token}"}
            assert client.post(GENERATE_PATH, headers=told, content=b"x").status_code == 400
    finally:
        server.close()


def test_a_socket_is_in_a_folder_of_this_user_only(tmp_path: Path) -> None:
    server = GenerationServer(NO_ENGINE, NO_TRIALS, NO_TRANSFORMS, "", tmp_path / "run", "worker")
    server.start()
    path = Path(server.address.removeprefix("unix:"))
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    server.close()
    assert not path.exists()
