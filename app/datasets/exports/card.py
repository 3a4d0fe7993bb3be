"""The dataset card: a README.md whose head the Hugging Face Hub reads as YAML.

https://huggingface.co/docs/hub/datasets-cards. JSON is YAML, so the head is written as JSON values
and no class name can break it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from app.jobs.plan import Plan

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))


def dataset_card(
    plan: Plan,
    licences: Iterable[str],
    columns: Mapping[str, str],
    files: str | list[str] = "data/train-*.parquet",
) -> str:
    """The card of a dataset, as Markdown.

    files: patterns of those that `datasets` reads, Parquet files below `data/` if not said. Of
    class folders with metadata `label` is a plain number: the names of classes can't be said there.
    """
    return f"---\n{_head(plan, licences, columns, files)}---\n\n{_body(plan)}"


def _head(
    plan: Plan, licences: Iterable[str], columns: Mapping[str, str], files: str | list[str]
) -> str:
    names = {str(label): name for label, name in enumerate(plan.classes)}
    in_tables = isinstance(files, str)
    label = {"class_label": {"names": names}} if in_tables else "int64"
    features: list[Mapping[str, object]] = [
        {"name": "image", "dtype": "image"},
        {"name": "label", "dtype": label},
        *[{"name": name, "dtype": dtype} for name, dtype in columns.items()],
    ]
    facts: dict[str, object] = {
        "pretty_name": f"Synthetic images of {', '.join(model.name for model in plan.models)}",
        "license": "other",
        "license_name": ", ".join(dict.fromkeys(licences)),
        "tags": ["synthetic", "synthloom"],
        "task_categories": ["image-classification"],
        "size_categories": [_size(plan.samples)],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": files}],
            }
        ],
        "dataset_info": {"features": features},
    }
    return "".join(
        f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in facts.items()
    )


def _body(plan: Plan) -> str:
    rows = "".join(
        f"| {_cell(name)} | {count:,} |\n" for name, count in plan.samples_per_class.items()
    )
    models = "".join(
        f"* `{model.ref}`, content SHA-256 `{model.sha256}`\n" for model in plan.models
    )
    shape = plan.image
    return (
        f"# {plan.samples:,} synthetic images\n\n"
        "Every image was drawn by a generative model; none is a photograph. Train with them, and "
        "measure on real images.\n\n"
        f"| class | images |\n|---|---:|\n{rows}\n"
        f"Size: {shape.height} x {shape.width}, channels: {shape.channels}.\n\n"
        f"## Where they come from\n\n{models}\n"
        f"Seed {plan.seed}. `index` and `candidate` with the seed and the model name the latent of "
        "each image; `pixel_sha256` is of its pixels before they were encoded.\n\n"
        "## How to load them\n\n"
        "```python\nfrom datasets import load_dataset\n\n"
        'images = load_dataset("FOLDER", split="train")  # the folder that this file lies in\n```\n'
    )


def _size(samples: int) -> str:
    return next((name for limit, name in _SIZES if samples < limit), "n>1M")


def _cell(text: str) -> str:
    """Text that neither ends a table's cell nor is markup."""
    line = "".join(character if character.isprintable() else " " for character in text)
    for character in "\\|`*_<[":
        line = line.replace(character, f"\\{character}")
    return line
