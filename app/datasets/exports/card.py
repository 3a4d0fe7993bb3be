"""The dataset card: a README.md whose head the Hugging Face Hub reads as YAML.

https://huggingface.co/docs/hub/datasets-cards. JSON is YAML, so the head is written as JSON values
and no class name can break it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from app.datasets.manifest import Layout
from app.datasets.members import METADATA
from app.datasets.merging.attribution import NOT_STATED
from app.jobs.merge import TRAIN, PlannedMerge, Split
from app.jobs.plan import Plan

_DRAWN = (
    "Every image was drawn by a generative model; none is a photograph. Train with them, and "
    "measure on real images.\n\n"
)
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))


def dataset_card(
    plan: Plan, licences: Iterable[str], columns: Mapping[str, str], in_tables: bool = True
) -> str:
    """The card of a dataset, as Markdown.

    in_tables: whether its images lie in Parquet files below `data/`, or else in class folders with
    metadata. There, `label` is a plain number: the names of classes can't be said.
    """
    return f"---\n{_head(plan, licences, columns, in_tables)}---\n\n{_body(plan)}"


def _head(plan: Plan, licences: Iterable[str], columns: Mapping[str, str], in_tables: bool) -> str:
    names = {str(label): name for label, name in enumerate(plan.classes)}
    label = {"class_label": {"names": names}} if in_tables else "int64"
    features: list[Mapping[str, object]] = [
        {"name": "image", "dtype": "image"},
        {"name": "label", "dtype": label},
        *[{"name": name, "dtype": dtype} for name, dtype in columns.items()],
    ]
    facts: dict[str, object] = {
        "pretty_name": f"{_kind(plan)} images of {', '.join(model.name for model in plan.models)}",
        "license": "other",
        "license_name": ", ".join(dict.fromkeys([*licences, *_real_licence(plan)])),
        "tags": ["synthetic", "synthloom"],
        "task_categories": ["image-classification"],
        "size_categories": [_size(sum(_splits(plan).values()))],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": split, "path": _files(plan, split, in_tables)}
                    for split in _splits(plan)
                ],
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
        f"{_mixed(plan, plan.merge) if plan.merge else _DRAWN}"
        f"| class | {'synthetic ' if plan.merge else ''}images |\n|---|---:|\n{rows}\n"
        f"Size: {shape.height} x {shape.width}, channels: {shape.channels}.\n\n"
        f"## Where they come from\n\n{models}\n"
        f"Seed {plan.seed}.{_sampling(plan)} `index` and `candidate` with the seed and the model "
        "name the latent of each image; `pixel_sha256` is of its pixels before they were "
        f"encoded.{_variants(plan)}\n\n"
        "## How to load them\n\n"
        "```python\nfrom datasets import load_dataset\n\n"
        'images = load_dataset("FOLDER", split="train")  # the folder that this file lies in\n```\n'
    )


def _files(plan: Plan, split: Split, in_tables: bool) -> str | list[str]:
    """Patterns of the files that `datasets` reads."""
    if in_tables:
        return f"data/{split}-*.parquet"
    start = Layout(plan).start_of(split)
    # Real files keep their names, so they end as they did.
    images = f"*/*.{plan.encoding.extension}" if plan.merge is None else f"{start}*/*"
    return [images, f"{start}{METADATA}"]


def _kind(plan: Plan) -> str:
    return "Real and synthetic" if plan.merge else "Synthetic"


def _real_licence(plan: Plan) -> list[str]:
    return [plan.merge.licence or NOT_STATED] if plan.merge else []


def _splits(plan: Plan) -> dict[Split, int]:
    """Split → images."""
    if plan.merge is None:
        return {TRAIN: plan.samples}
    real = {split: sum(plan.merge.real(split).values()) for split in plan.merge.splits}
    return real | {TRAIN: plan.samples + real[TRAIN]}


def _mixed(plan: Plan, merge: PlannedMerge) -> str:
    """Whose the real images are; `origin` tells the two apart."""
    real = "".join(
        f"| {_cell(name)} | "
        + " | ".join(f"{merge.real(split)[name]:,}" for split in merge.splits)
        + " |\n"
        for name in merge.classes
    )
    return (
        f"And {merge.images:,} real images of the dataset {_cell(merge.name)}, licence "
        f"{_cell(merge.licence or NOT_STATED)}: `origin` is `real` or `synthetic`, and synthetic "
        "images were drawn by a generative model and lie in the training split only.\n\n"
        f"Attribution: {_cell(merge.attribution or NOT_STATED)}\n\n"
        f"| class | {' | '.join(f'real, {split}' for split in merge.splits)} |\n"
        f"|---{'|---:' * len(merge.splits)}|\n{real}\n"
    )


def _sampling(plan: Plan) -> str:
    if plan.sampling is None:
        return ""
    asked = plan.sampling.model_dump(exclude_none=True, exclude_defaults=True)
    return f" Sampling: {', '.join(f'{name} {value}' for name, value in asked.items())}."


def _variants(plan: Plan) -> str:
    if plan.variants == 1:
        return ""
    return (
        f" Transforms made up to {plan.variants} variants of each of {plan.drawn:,} drawn images: "
        "keep images with one `variant_of` in one split."
    )


def _size(samples: int) -> str:
    return next((name for limit, name in _SIZES if samples < limit), "n>1M")


def _cell(text: str) -> str:
    """Text that neither ends a table's cell nor is markup."""
    line = "".join(character if character.isprintable() else " " for character in text)
    for character in "\\|`*_<[":
        line = line.replace(character, f"\\{character}")
    return line
