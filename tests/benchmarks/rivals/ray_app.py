"""Ray Serve: `python -m tests.benchmarks.rivals.ray_app PORT`."""

from __future__ import annotations

import signal
import sys
from typing import Any

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from tests.benchmarks.rivals.maker import LINGER_SECONDS, MOST_REQUESTS, Maker


@serve.deployment(num_replicas=1, max_ongoing_requests=256)
class Sampler:
    """One replica, batches of requests, raw bytes back."""

    def __init__(self) -> None:
        self._maker = Maker()

    @serve.batch(  # type: ignore[untyped-decorator]
        max_batch_size=MOST_REQUESTS, batch_wait_timeout_s=LINGER_SECONDS
    )
    async def _answers(self, requests: list[Any]) -> list[bytes]:
        return self._maker.answers(requests)

    async def __call__(self, request: Request) -> Response:
        answer = await self._answers(await request.json())
        return Response(answer, media_type="application/octet-stream")


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="warning")
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Sampler.bind(), route_prefix="/predict")  # type: ignore[attr-defined]
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
