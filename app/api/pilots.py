"""Pilots: a few candidates of a model, drawn and labelled by a worker to estimate a job."""

from __future__ import annotations

import numpy as np
from cachetools import LRUCache

from app.api.remote_engine import RemoteWorkers
from app.errors import OverloadedError, UnavailableError
from app.jobs.pilot import PILOT_CANDIDATES, Pilot
from app.jobs.plan import Plan
from app.jobs.sampling import Sampling, shaping
from app.wire import Draw
from models.latents import normal

_KEPT = 256
_SEED = 0


class Pilots:
    """Pilots by the content of model and classifier; used on the event loop only."""

    def __init__(self, workers: RemoteWorkers) -> None:
        self._workers = workers
        self._known: LRUCache[tuple[str, str, str, Sampling | None], Pilot] = LRUCache(_KEPT)

    async def of(self, plan: Plan, latent_sizes: dict[str, int]) -> list[Pilot] | None:
        """The pilot of each model of a plan whose candidates are labelled.

        None when no worker has time for it, or when nothing is labelled.
        """
        if plan.labelled_by is None:
            return None
        judge = plan.labelled_by.sha256
        try:
            return [
                await self._pilot(model.sha256, judge, plan, latent_sizes[model.sha256])
                for model in plan.models
            ]
        except (UnavailableError, OverloadedError):
            return None

    async def _pilot(self, model: str, judge: str, plan: Plan, latent_size: int) -> Pilot:
        key = (model, judge, plan.precision, plan.sampling)
        if key not in self._known:
            z = shaping(plan.sampling)(
                normal(
                    seed=_SEED,
                    model=model,
                    shard=0,
                    first=0,
                    count=PILOT_CANDIDATES,
                    size=latent_size,
                )
            )
            psi = plan.sampling.psi if plan.sampling else None
            size = plan.engine_batch
            finite, labels, confidences = [], [], []
            for at in range(0, len(z), size):
                draw = Draw(model, z[at : at + size], None, size, plan.precision, "pilot", psi)
                made = await self._workers.ask(draw)
                verdicts = await self._workers.label(judge, made.pixels)
                finite.append(made.finite)
                labels.append(verdicts.labels)
                confidences.append(verdicts.confidences)
            self._known[key] = Pilot(
                np.concatenate(finite), np.concatenate(labels), np.concatenate(confidences)
            )
        return self._known[key]
