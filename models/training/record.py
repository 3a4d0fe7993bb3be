"""What a checkpoint says of its training: enough to do it again, and to see how it went."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from pydantic import JsonValue

from models.corpus.preprocessing import Preprocessing
from models.spec import ImageShape
from models.training.callbacks import read_rows
from models.training.config import TrainingConfig
from models.training.learner import Learner
from models.training.snapshots import Row

MOST_POINTS: Final = 200


class Material(NamedTuple):
    """What a run learns from. sha256: of all its images; accuracy: of the judge on the validation
    images, None where it has no classes or there is no judge."""

    sha256: str
    train_images: int
    validation_images: int
    accuracy: float | None


def training_record(
    config: TrainingConfig, learner: Learner, material: Material
) -> dict[str, JsonValue]:
    """The facts of a run as they stand now."""
    step, seconds = learner.progress
    return {
        "images": material.train_images,
        "validation_images": material.validation_images,
        "data_sha256": material.sha256,
        "split": config.split,
        "preprocessing": preprocessing_of(config, learner),
        "steps": step,
        "epochs": round(step / learner.batches.per_epoch, 2),
        "minutes": round(seconds / 60, 2),
        "seed": config.seed,
        "recipe": learner.recipe.record(),
        "rate_factor": learner.rate_factor,
        "device": learner.device.type,
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }


def preprocessing_of(config: TrainingConfig, learner: Learner) -> dict[str, JsonValue]:
    """How an image became what the network learnt from: size, channels, range of its floats."""
    image: ImageShape | Preprocessing = config.preprocessing or learner.spec.image
    low, high = learner.spec.value_range
    return {**image.model_dump(mode="json"), "value_range": [low, high]}


def curves(losses: Path, rows: Sequence[Row]) -> dict[str, JsonValue]:
    """Losses and figures over the steps: name -> {"step": […], "value": […]}, 200 points at most.

    Of longer ones, neighbouring points are averaged.
    """
    found: dict[str, JsonValue] = {}
    head, *table = read_rows(losses) or [[]]
    if table:
        columns = np.array(table, np.float64)  # [rows, step + seconds + losses]
        for place, name in enumerate(head[2:], 2):
            found[name] = _curve(columns[:, 0], columns[:, place])
    judged = [(row.step, row.judged) for row in rows if row.judged is not None]
    for name in ("score", "kid", "label_agreement", "diversity"):
        points = [(step, getattr(of, name)) for step, of in judged]
        present = np.array([point for point in points if point[1] is not None], np.float64)
        if len(present):
            found[name] = _curve(present[:, 0], present[:, 1])
    return found


def figures_of(row: Row) -> dict[str, JsonValue]:
    """Figures of the chosen snapshot, on the images that chose it."""
    if row.judged is None:
        return {}
    judged = row.judged.model_dump(mode="json", exclude_none=True)
    return {f"validation_{name}": _short(value) for name, value in judged.items()}


def _short(value: JsonValue) -> JsonValue:
    return round(value, 4) if isinstance(value, float) else value


def _curve(steps: np.ndarray, values: np.ndarray) -> dict[str, JsonValue]:
    """Both float64 [N]."""
    parts = min(len(steps), MOST_POINTS)
    last = [int(part[-1]) for part in np.array_split(steps, parts)]
    means = [float(f"{part.mean():.6g}") for part in np.array_split(values, parts)]
    return {"step": list(last), "value": list(means)}
