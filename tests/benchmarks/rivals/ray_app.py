"""Ray Serve: `python -m tests.benchmarks.rivals.ray_app PORT`."""

from __future__ import annotations

import signal
import sys
import tempfile
from typing import Any

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from tests.benchmarks.rivals.maker import LINGER_SECONDS, MOST_REQUESTS, Maker

QUIET = {"enable_access_log": False, "log_level": "WARNING"}


@serve.deployment(num_replicas=1, max_ongoing_requests=256, logging_config=QUIET)
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


def main(port: int) -> None:
    """Serve until SIGTERM."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="warning",
            _temp_dir=folder,
        )
        serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config=QUIET)
        serve.run(Sampler.bind(), route_prefix="/predict")  # type: ignore[attr-defined]
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
