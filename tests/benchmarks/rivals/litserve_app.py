"""LitServe: `python -m tests.benchmarks.rivals.litserve_app PORT`."""

from __future__ import annotations

import sys
from typing import Any

import litserve
from starlette.responses import Response

from tests.benchmarks.rivals.maker import LINGER_SECONDS, MOST_REQUESTS, Maker


class Api(litserve.LitAPI):  # type: ignore[misc]
    """One worker process, batches of requests, raw bytes back."""

    def setup(self, device: str) -> None:
        self._maker = Maker()

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, batch: list[Any]) -> list[bytes]:
        return self._maker.answers(batch)

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        return output

    def encode_response(self, output: bytes) -> Response:
        return Response(output, media_type="application/octet-stream")


if __name__ == "__main__":
    api = Api(max_batch_size=MOST_REQUESTS, batch_timeout=LINGER_SECONDS, api_path="/predict")
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1, timeout=60)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
    )
