"""Labels of images by a classifier, wherever it was loaded."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from models.classifier import Classifier
from models.errors import InputError
from models.generator import as_tensor, from_pixels
from models.verdicts import Verdicts

PIECE = 64
"""Images of one forward pass, whatever was asked for: the shape that a kernel meets, and so the
rounding of a verdict, does not depend on how many images come together."""


def label(classifier: Classifier, pixels: NDArray[np.uint8]) -> Verdicts:
    """uint8 [N, H, W, C] -> the verdict on each image, in float32. Raises InputError."""
    image = classifier.image
    if pixels.shape[1:] != (image.height, image.width, image.channels):
        raise InputError(
            f"the classifier labels images [{image.height}, {image.width}, {image.channels}], "
            f"not {list(pixels.shape[1:])}"
        )
    parts = [_piece(classifier, pixels[at : at + PIECE]) for at in range(0, len(pixels), PIECE)]
    if not parts:
        return Verdicts(np.empty(0, np.int64), np.empty(0, np.float32))
    return Verdicts(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.confidences for part in parts]),
    )


@torch.inference_mode()
def _piece(classifier: Classifier, pixels: NDArray[np.uint8]) -> Verdicts:
    count = len(pixels)
    padded = np.concatenate([pixels, np.repeat(pixels[:1], PIECE - count, axis=0)])
    images = from_pixels(as_tensor(padded).to(classifier.device), classifier.value_range)
    probabilities = classifier.eval()(images).softmax(dim=1)  # [PIECE, class_count]
    confidences, labels = probabilities[:count].max(dim=1)
    return Verdicts(labels.cpu().numpy(), confidences.cpu().numpy())
