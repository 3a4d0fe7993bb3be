"""BentoML: `bentoml serve tests.benchmarks.rivals.bentoml_app:Sampler --port PORT`.

Its batched endpoints answer in JSON, so the bytes travel as base64. Its window is adaptive.
"""

# No `from __future__ import annotations`: the server reads the types of the endpoint.
import base64

import bentoml
from pydantic import BaseModel

from tests.benchmarks.rivals.maker import MOST_REQUESTS, Maker


class Ask(BaseModel):
    """One request."""

    seed: int
    labels: list[int]


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Sampler:
    """One worker process."""

    def __init__(self) -> None:
        self._maker = Maker()

    @bentoml.api(  # type: ignore[untyped-decorator]
        route="/predict", batchable=True, max_batch_size=MOST_REQUESTS, max_latency_ms=60_000
    )
    def predict(self, requests: list[Ask]) -> list[str]:
        """One string a request."""
        made = self._maker.answers([request.model_dump() for request in requests])
        return [base64.b64encode(answer).decode() for answer in made]
