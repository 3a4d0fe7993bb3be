"""The model card: what the spec knows, said for people, and the maker's own notes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from models.spec import ModelSpec

MEBIBYTE = 1 << 20


def write_card(path: Path, spec: ModelSpec, parameters: int, notes: str) -> None:
    """Write the Markdown card of a generator to `path`."""
    sections = (_heading(spec, parameters), _figures(spec), _training(spec), notes.strip())
    path.write_text("\n\n".join(section for section in sections if section) + "\n")


def _heading(spec: ModelSpec, parameters: int) -> str:
    image = spec.image
    classes = ", ".join(spec.classes) or "none: it cannot be asked for a class"
    options = f", {_plain(spec.options)}" if spec.options else ""
    rows = ", one class a row" if spec.conditional else ""
    channels = "1 channel" if image.channels == 1 else f"{image.channels} channels"
    return f"""# {spec.name}

{spec.description}

![Contact sheet{rows}](preview.png)

| | |
|---|---|
| version | {spec.version} |
| architecture | `{spec.architecture}` ({spec.family}){options} |
| images | {image.height} x {image.width}, {channels} |
| classes | {classes} |
| latent size | {spec.latent_size} |
| parameters | {parameters:,}, stored as float16: {spec.weights.bytes / MEBIBYTE:.2f} MiB |
| weights SHA-256 | `{spec.weights.sha256}` |
| licence of the weights | {spec.licence} |
| data | Fashion-MNIST, MIT licence, Copyright (c) 2017 Zalando SE |"""


def _figures(spec: ModelSpec) -> str:
    figures = spec.figures
    lines = ["## Figures", "", "| figure | value | measured on |", "|---|---|---|"]
    drawn = f"{figures['agreement_samples']:,} samples, judged by {figures['judge']}"
    if figures.get("label_agreement") is not None:
        lines.append(f"| label agreement | {figures['label_agreement']:.4f} | {drawn} |")
    lines.append(f"| mean confidence of the judge | {figures['mean_confidence']:.4f} | {drawn} |")
    how = f"learnt from {figures['utility_samples']:,} samples only, tested on"
    lines.append(
        f"| train-on-synthetic accuracy | {figures['utility']:.4f} | "
        f"{how} {figures['real_images']:,} real test images |"
    )
    lines.append(
        f"| the same learnt from real images | {figures['utility_of_real']:.4f} | "
        f"as many real training images, same budget |"
    )
    return "\n".join((*lines, "", _by_class(spec)))


def _by_class(spec: ModelSpec) -> str:
    shares = cast(Mapping[str, float], spec.figures["class_agreement"])
    title = "agreement" if spec.conditional else "share of the samples by the judge"
    rows = [f"| {name} | {share:.4f} |" for name, share in shares.items()]
    return "\n".join((f"| class | {title} |", "|---|---|", *rows))


def _training(spec: ModelSpec) -> str:
    record: Mapping[str, JsonValue] = spec.training
    rows = [f"| {key.replace('_', ' ')} | {_plain(value)} |" for key, value in record.items()]
    table = "\n".join(("| | |", "|---|---|", *rows))
    return f"## Training\n\n![Losses over the steps](curve.png)\n\n{table}"


def _plain(value: JsonValue) -> str:
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return str(value)
