"""The classifiers of a worker: loaded like generators, asked from any thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from app.engine.devices import empty_cache
from app.engine.residents import Residents
from app.errors import DeviceMemoryError, ModelCorruptError, ModelUnusableError
from models.classifier import Classifier
from models.errors import CheckpointError, ModelError
from models.labelling import label
from models.verdicts import Verdicts

log = logging.getLogger(__name__)

CPU = torch.device("cpu")

LoadClassifier = Callable[[str, torch.device], Classifier]
"""From the SHA-256 of a classifier and a device to the classifier there."""


class Labeller:
    """Labels images on a device, and on the CPU those that have no room there.

    One batch at a time: a classifier is small beside a generator, so the device is hardly kept
    from the next batch of images, and its memory is bounded.

    broken: called with an error after which the device can't be used by this process any more;
    it must not return.
    """

    def __init__(
        self,
        device: torch.device,
        load: LoadClassifier,
        resident_bytes: int,
        broken: Callable[[BaseException], None],
    ) -> None:
        self._places = {
            place: Residents(partial(_on, load, place), resident_bytes, partial(empty_cache, place))
            for place in (device, CPU)
        }
        self._broken = broken
        self._lock = threading.Lock()

    def label(self, classifier: str, pixels: NDArray[np.uint8]) -> Verdicts:
        """The verdict on each image, uint8 [n, H, W, C].

        classifier: its SHA-256. Raises ModelCorruptError, ModelUnusableError, DeviceMemoryError,
        and what the loader raises for a classifier that it does not know.
        """
        with self._lock:
            for place, residents in self._places.items():
                try:
                    return self._verdicts(residents, classifier, pixels)
                except torch.OutOfMemoryError:
                    log.warning("a classifier has no room on %s now", place)
        raise DeviceMemoryError(
            "The classifier does not fit into the memory of this machine. Use a machine with more "
            "of it."
        )

    def _verdicts(
        self, residents: Residents[Classifier], classifier: str, pixels: NDArray[np.uint8]
    ) -> Verdicts:
        try:
            with residents.use(classifier) as loaded:
                return label(loaded, pixels)
        except CheckpointError as error:
            raise ModelCorruptError(
                f"The files of classifier {classifier[:12]}… can't be used: {error}. Install the "
                "package again, then submit the job again."
            ) from error
        except ModelError as error:
            raise ModelUnusableError(f"The classifier can't do this: {error}.") from error
        except torch.AcceleratorError as error:
            self._broken(error)
            raise


def _on(load: LoadClassifier, device: torch.device, sha256: str) -> Classifier:
    return load(sha256, device)
