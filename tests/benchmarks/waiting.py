"""`POST /v1/samples` under load, from a process of its own: who asks must not slow who answers.

Run as `python -m tests.benchmarks.waiting URL KEY CLIENTS SAMPLES SECONDS`; prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time

import httpx


async def load(url: str, key: str, clients: int, samples: int, seconds: float) -> dict[str, float]:
    """Closed loop: every client asks again as soon as it has its answer."""
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    headers = {"Authorization": f"Bearer {key}", "Accept": "application/x-npz"}
    took: list[float] = []
    async with httpx.AsyncClient(
        base_url=url, headers=headers, limits=limits, timeout=120.0, trust_env=False
    ) as client:
        end = time.perf_counter() + seconds

        async def ask_on(number: int) -> None:
            seed = number
            while time.perf_counter() < end:
                seed += clients
                began = time.perf_counter()
                answer = await client.post("/v1/samples", json=_body(samples, seed))
                answer.raise_for_status()
                took.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(ask_on(number) for number in range(clients)))
        wall = time.perf_counter() - began
    took.sort()
    return {
        "samples_per_second": len(took) * samples / wall,
        "p50_ms": 1_000 * statistics.median(took),
        "p99_ms": 1_000 * took[min(len(took) - 1, int(len(took) * 0.99))],
    }


def _body(samples: int, seed: int) -> dict[str, object]:
    return {"model": "fashion-cgan", "samples_per_class": {"bag": samples}, "seed": seed}


if __name__ == "__main__":
    address, bearer, count, size, duration = sys.argv[1:]
    measured = asyncio.run(load(address, bearer, int(count), int(size), float(duration)))
    sys.stdout.write(json.dumps(measured) + "\n")
