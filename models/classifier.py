"""A small convolutional classifier: the judge of labels, and the yardstick of usefulness."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.spec import ImageShape


class Classifier(nn.Module):
    """float [N, C, H, W] in (0, 1) -> logits float [N, class_count].

    Three 3x3 convolutions (32, 64, 64 channels) with batch norm and ReLU, the first two followed
    by a halving max pool; dropout; two linear layers. About 0.47 million parameters at 28x28.

    width: channels of the first convolution, to which the others are in proportion.
    """

    value_range = (0.0, 1.0)

    def __init__(self, image: ImageShape, class_count: int, width: int = 32) -> None:
        super().__init__()
        self.image = image
        self.class_count = class_count
        cells = 2 * width * (image.height // 4) * (image.width // 4)
        self.features = nn.Sequential(
            *_block(image.channels, width),
            nn.MaxPool2d(2),
            *_block(width, 2 * width),
            nn.MaxPool2d(2),
            *_block(2 * width, 2 * width),
            nn.Flatten(),
        )
        self.head = nn.Sequential(
            nn.Dropout(0.4),
            nn.Linear(cells, 4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, class_count),
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are; images are moved there."""
        return next(self.parameters()).device

    @property
    def resident_bytes(self) -> int:
        """Memory that the weights take while the classifier is loaded."""
        tensors = (*self.parameters(), *self.buffers())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))  # [N, cells] -> [N, class_count]
        return logits


def _block(channels_in: int, channels_out: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, 1, 1, bias=False)
    return convolution, nn.BatchNorm2d(channels_out), nn.ReLU()
