"""What a checkpoint says of its training: enough to do it again."""

from __future__ import annotations

import platform

import numpy as np
import torch
from pydantic import JsonValue

from models.training.config import TrainingConfig
from models.training.state import Progress


def training_record(
    config: TrainingConfig, images: int, per_epoch: int, progress: Progress
) -> dict[str, JsonValue]:
    """The facts of a run as they stand after `progress`."""
    recipe = config.recipe
    variance = recipe.pixel_variance
    own: dict[str, JsonValue] = {} if variance is None else {"pixel_variance": variance}
    return own | {
        "images": images,
        "steps": progress.step,
        "epochs": round(progress.step / per_epoch, 2),
        "minutes": round(progress.seconds / 60, 1),
        "seed": config.seed,
        "loss": recipe.loss,
        "batch_size": recipe.batch_size,
        "generator_rate": recipe.generator_rate,
        "partner_rate": recipe.partner_rate,
        "betas": list(recipe.betas),
        "average_decay": recipe.average_decay,
        "bfloat16": config.bfloat16,
        "threads": config.threads,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
