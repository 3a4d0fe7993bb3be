"""The devices of a worker: its own, and the CPU for models that have no room on it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from app.engine.batcher import Run
from app.engine.devices import joined
from app.engine.labeller import Labeller
from app.engine.place import Limits, LoadOnto, Place
from app.engine.turns import Kind, Lane
from app.errors import DeviceMemoryError, ModelCorruptError, ModelUnusableError
from models.errors import CheckpointError, ModelError
from models.generator import Generator, Pixels, check_inputs
from models.verdicts import Verdicts

log = logging.getLogger(__name__)

CPU = torch.device("cpu")
RETRY_SECONDS = 60.0
"""How long a model stays on the CPU before the worker's own device is tried again."""


class Engine:
    """Generates images from any thread; see `Batcher` for who is served when.

    A model that has no room on the device, even without those that nobody uses, runs on the CPU
    for a while. Its pixels differ there by rounding, so `Seat.environment` says which devices
    drew.

    clock: seconds that never go back.
    labeller: the worker's classifiers, for seats that label what they draw.
    """

    def __init__(
        self,
        device: torch.device,
        load: LoadOnto,
        run: Run,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        labeller: Labeller | None = None,
    ) -> None:
        self._make = partial(Place, load=load, run=run, limits=limits)
        self._own = self._make(device)
        self._cpu: Place | None = None
        self._clock = clock
        self._labeller = labeller
        self._lock = threading.Lock()
        self._back_at: dict[str, float] = {}
        """When a model that runs on the CPU may try the device again."""

    @property
    def environment(self) -> dict[str, str]:
        """The worker's own device, and versions."""
        return self._own.environment

    @property
    def resident(self) -> list[str]:
        """SHA-256 of the models on the worker's own device, the least recently used first."""
        return self._own.residents.loaded

    @property
    def on_cpu(self) -> list[str]:
        """SHA-256 of the models that have no room on the device now."""
        with self._lock:
            return [model for model, back in self._back_at.items() if self._clock() < back]

    def for_job(self, job_id: str, precision: str = "float32", psi: float | None = None) -> Seat:
        """The engine as a job sees it: behind whoever waits, in turn with the other jobs."""
        return Seat(self, Lane.JOB, job_id, precision, psi)

    def for_request(
        self, request_id: str, precision: str = "float32", psi: float | None = None
    ) -> Seat:
        """The engine as somebody sees it who waits for the answer: ahead of the jobs."""
        return Seat(self, Lane.SYNC, request_id, precision, psi)

    def submit(self, draw: Draw) -> Future[Pixels]:
        """Images of latents, once their batches have run. The model stays resident meanwhile.

        The future can be cancelled until the first of its batches runs. Raises, itself or the
        future, ModelCorruptError, ModelUnusableError, OverloadedError or DeviceMemoryError.
        """
        with _translated(draw.model):
            self._begin(draw)
        return draw.answer

    def latent_size(self, model: str) -> int:
        """Length of one latent of a model; loads the model."""
        with _translated(model), ExitStack() as held:
            _, generator = self._hold(model, held)
            return generator.latent_size

    def label(self, classifier: str, pixels: NDArray[np.uint8]) -> Verdicts:
        """The verdict of a classifier on each image: see `Labeller.label`."""
        if self._labeller is None:
            raise ModelUnusableError("This worker has no classifiers.")
        return self._labeller.label(classifier, pixels)

    def close(self) -> None:
        """End the threads of the devices; whoever waits is told so."""
        self._own.batcher.close()
        if self._cpu:
            self._cpu.batcher.close()

    def _begin(self, draw: Draw) -> None:
        with ExitStack() as stack:
            place, generator = self._hold(draw.model, stack)
            # Before it meets the requests of others, which must not fail with it.
            check_inputs(generator, draw.z, draw.labels, draw.seat.psi)
            kind = Kind(draw.model, draw.batch, draw.seat.precision, draw.seat.psi)
            made = place.batcher.submit(
                draw.seat.lane, draw.seat.source, kind, generator, draw.z, draw.labels
            )
            held = stack.pop_all()
        draw.made = made
        made.add_done_callback(lambda _: self._end(draw, place, held, made))
        if draw.answer.cancelled():
            made.cancel()

    def _end(self, draw: Draw, place: Place, held: ExitStack, made: Future[Pixels]) -> None:
        """Hand the answer over; in the thread of the device, or of who cancelled."""
        held.close()
        if made.cancelled():
            return
        error = made.exception()
        if error is None:
            pixels = made.result()
            draw.seat.used[place.device.type] = place.environment
            draw.seat.device_seconds += pixels.seconds
            draw.succeed(pixels)
        elif isinstance(error, DeviceMemoryError) and self._make_room(draw, place):
            self._begin_again(draw)
        else:
            # Not raised: its frames would keep those of the batch.
            draw.fail(_as_ours(error, draw.model))

    def _make_room(self, draw: Draw, place: Place) -> bool:
        """Whether a batch that had no room is worth another try, there or on the CPU."""
        if not draw.retried and place.residents.evict_idle():
            draw.retried = True
            return True
        if place.device != CPU:
            self._send_away(draw.model)
            return True
        return False

    def _begin_again(self, draw: Draw) -> None:
        try:
            self._begin(draw)
        except BaseException as error:
            draw.fail(_as_ours(error, draw.model))

    def _hold(self, model: str, stack: ExitStack) -> tuple[Place, Generator]:
        """The device that a model runs on now, and its generator there."""
        place = self._place_of(model)
        try:
            return place, stack.enter_context(place.residents.use(model))
        except torch.OutOfMemoryError as error:
            if place.device == CPU:
                raise _too_large() from error
        self._send_away(model)
        place = self._place_of(model)
        return place, stack.enter_context(place.residents.use(model))

    def _place_of(self, model: str) -> Place:
        with self._lock:
            if self._clock() >= self._back_at.get(model, -np.inf):
                self._back_at.pop(model, None)
                return self._own
            if self._cpu is None:
                self._cpu = self._make(CPU)
            return self._cpu

    def _send_away(self, model: str) -> None:
        with self._lock:
            self._back_at[model] = self._clock() + RETRY_SECONDS
        log.warning(
            "model %s… has no room on %s: it runs on the CPU for %.0f seconds",
            model[:12],
            self.environment["device"],
            RETRY_SECONDS,
        )


@dataclass(slots=True)
class Seat:
    """An engine as one run of a shard, or one request, sees it."""

    engine: Engine
    lane: Lane
    source: str
    precision: str
    psi: float | None = None
    used: dict[str, dict[str, str]] = field(default_factory=dict)
    """Type of each device that drew something for this seat → its environment."""
    device_seconds: float = 0.0
    """That devices took for this seat; of a batch that others share, its part."""

    @property
    def environment(self) -> dict[str, str]:
        """Of the devices that drew the images so far; of the worker's own before any was."""
        return joined(list(self.used.values()) or [self.engine.environment])

    def submit(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Future[Pixels]:
        """Ask for images of latents: see `Engine.submit`.

        model: SHA-256 of a registered model.
        z: float32 [n, latent_size]; labels: int64 [n], or None for a model that takes none.
        The future holds uint8 [n, H, W, C] and finite bool [n].
        """
        return self.engine.submit(Draw(self, model, z, labels, batch))

    def generate(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Pixels:
        """`submit`, and wait."""
        return self.submit(model, z, labels, batch).result()

    def latent_size(self, model: str) -> int:
        """Length of one latent of a model."""
        return self.engine.latent_size(model)

    def label(self, classifier: str, pixels: NDArray[np.uint8]) -> Verdicts:
        """The verdict of a classifier, by its SHA-256, on each image: uint8 [n, H, W, C]."""
        return self.engine.label(classifier, pixels)


class Draw:
    """Latents that a seat asked images of, and the future that answers."""

    def __init__(
        self,
        seat: Seat,
        model: str,
        z: NDArray[np.float32],
        labels: NDArray[np.int64] | None,
        batch: int,
    ) -> None:
        self.seat = seat
        self.model = model
        self.z = z
        self.labels = labels
        self.batch = batch
        self.answer: Future[Pixels] = Future()
        self.answer.add_done_callback(self._cancel)
        self.made: Future[Pixels] | None = None
        """What the batcher of a device was asked for."""
        self.retried = False

    def succeed(self, pixels: Pixels) -> None:
        """Answer, unless it is no longer wanted."""
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_result(pixels)

    def fail(self, error: BaseException) -> None:
        """Answer with an error, unless it is no longer wanted."""
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_exception(error)

    def _cancel(self, answer: Future[Pixels]) -> None:
        if answer.cancelled() and self.made:
            self.made.cancel()


@contextmanager
def _translated(model: str) -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        raise _as_ours(error, model) from error


def _as_ours(error: BaseException, model: str) -> BaseException:
    """An error of a model as one of the service; any other as it is."""
    if isinstance(error, CheckpointError):
        ours: BaseException = ModelCorruptError(
            f"The checkpoint of model {model[:12]}… can't be used: {error}. Register it "
            "again, then submit the job again."
        )
    elif isinstance(error, ModelError):
        ours = ModelUnusableError(f"The generator can't do this: {error}.")
    else:
        return error
    ours.__cause__ = error
    return ours


def _too_large() -> DeviceMemoryError:
    return DeviceMemoryError(
        "The model does not fit into the memory of this machine. Use a machine with more of it."
    )
