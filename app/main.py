"""The API process. Imports no torch: it plans, records and serves, and leaves work to workers."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import TypedDict

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app.api import (
    archives,
    classifiers,
    croissant,
    datasets,
    direct,
    evaluations,
    health,
    interpolation,
    jobs,
    manifest,
    model_export,
    model_import,
    models,
    problems,
    redraw,
    replay,
    reports,
    samples,
    trainings,
)
from app.api.services import Services, signing_by
from app.api.uploads import prepare_uploads
from app.datasets.signing import Signing
from app.db.migrate import check
from app.db.session import create_engine
from app.jobs.dispatch import Dispatcher
from app.settings import Settings
from app.storage import LocalStorage

log = logging.getLogger(__name__)

DESCRIPTION = """Name the classes that are short, get exactly that many samples: reproducible from
their seeds, traceable to their checkpoint, in archives that trainers read as they are."""


class State(TypedDict):
    """What the lifespan gives to every request."""

    services: Services


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application for these settings. Nothing is opened before its lifespan begins.

    Raises ConfigurationError where nothing can be signed with the certificate that they name.
    """
    app = FastAPIOffline(
        redoc_url=None,
        redirect_slashes=False,  # a redirect repeats the Host header, which anyone can forge
        title="Synthloom",
        version=version("synthloom"),
        description=DESCRIPTION,
        lifespan=_lifespan(settings, signing_by(settings)),
        responses=problems.RESPONSES,
        swagger_ui_parameters={"persistAuthorization": True},
    )
    problems.install(app)
    for module in (
        health, model_import, models, model_export, classifiers, datasets, jobs, samples, manifest,
        archives, croissant, replay, redraw, interpolation, reports, trainings, evaluations,
    ):  # fmt: skip
        app.include_router(module.router)
    direct.install(app)
    return app


def _lifespan(
    settings: Settings, signing: Signing | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[State]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        database = create_engine(settings.sqlalchemy_url)
        check(database)
        prepare_uploads(settings.data_dir, settings.objects_dir)
        services = Services(
            settings,
            database,
            LocalStorage(settings.objects_dir),
            Dispatcher(database),
            signing=signing,
        )
        try:
            yield {"services": services}
        finally:
            await services.close()
            database.dispose()

    return lifespan
