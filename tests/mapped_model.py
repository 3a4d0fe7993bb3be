"""A small StyleGAN2 with classes, as a file that a server imports."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from app.imports.package import pack_folder
from models.checkpoint import save
from models.generator import Generator
from models.registry import build
from models.spec import ImageShape, ModelSpec, Weights

CLASSES = ("disc", "ring", "square")
LATENT = 16


def mapped_model(folder: Path, name: str = "mapped") -> tuple[ModelSpec, Path, Generator]:
    """Its spec, the file, and the generator itself, with weights away from their start."""
    spec = ModelSpec(
        name=name,
        version="1.0.0",
        family="gan",
        architecture="stylegan2",
        options={"style_dim": 16, "mapping_layers": 2, "channel_base": 128, "channel_max": 16},
        image=ImageShape(height=16, width=16, channels=1),
        latent_size=LATENT,
        conditioning="class",
        classes=CLASSES,
        value_range=(-1.0, 1.0),
        licence="Apache-2.0",
        weights=Weights(sha256="0" * 64, bytes=1),
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        generator = build(spec).eval()
        for name_of, parameter in generator.named_parameters():
            if name_of.endswith(("bias", "noise.weight")):
                nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.5)
    generator.derive(["latent_avg"])
    saved = save(folder / name, spec, generator)
    file = folder / f"{name}.zip"
    pack_folder(folder / name, file)
    return saved, file, generator
