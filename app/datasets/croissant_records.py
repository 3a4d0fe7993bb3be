"""Record sets of a Croissant document: the classes, the splits, and the samples of an archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.datasets.manifest import Layout
from app.jobs.merge import TRAIN, Split
from app.jobs.plan import Plan

_TYPES = {"int64": "sc:Integer", "string": "sc:Text"}
_SPLITS: Final[Mapping[Split, str]] = {
    "train": "cr:TrainingSplit",
    "validation": "cr:ValidationSplit",
    "test": "cr:TestSplit",
}


def classes(plan: Plan) -> dict[str, Any]:
    """The list of classes: folder, name, label, and how many samples there are.

    Of a merged dataset also how many real images, of all splits.
    """
    counts = {"samples": plan.samples_per_class}
    if plan.merge is not None:
        counts["real"] = Counter[str]()
        for every in plan.merge.counts.values():
            counts["real"].update(every)
    directories = Layout(plan).directories
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "The classes of the dataset.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/folder"},
        "field": [
            field("classes/folder", "sc:Text"),
            field("classes/name", "sc:Text"),
            field("classes/label", "sc:Integer"),
            *[field(f"classes/{kind}", "sc:Integer") for kind in counts],
        ],
        "data": [
            {
                "classes/folder": directories[name],
                "classes/name": name,
                "classes/label": label,
                **{f"classes/{kind}": every.get(name, 0) for kind, every in counts.items()},
            }
            for label, name in enumerate(plan.classes)
        ],
    }


def splits(plan: Plan) -> dict[str, Any]:
    """Synthetic images are there to be learnt from: all of them are of the training split."""
    names: Sequence[Split] = (TRAIN,) if plan.merge is None else plan.merge.splits
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The splits of the dataset.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [field("splits/name", "sc:Text"), field("splits/url", "sc:URL")],
        "data": [{"splits/name": name, "splits/url": _SPLITS[name]} for name in names],
    }


def class_folders(file_set: str) -> dict[str, Any]:
    """The images of class folders, each with its class and index."""
    source = {"fileSet": {"@id": file_set}}
    folder = {
        **extracted("images/class", "sc:Text", source, {"fileProperty": "fullpath"}),
        "references": {"field": {"@id": "classes/folder"}},
    }
    # Readers that follow the reference apply this twice: of a folder alone it gives the folder.
    folder["source"]["transform"] = {"regex": "^([^/]+)"}
    index = extracted("images/index", "sc:Integer", source, {"fileProperty": "filename"})
    index["source"]["transform"] = {"regex": "^0*(\\d+)\\."}
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": "A record for each image in a class folder.",
        "key": {"@id": "images/index"},
        "field": [
            index,
            folder,
            extracted("images/image", "sc:ImageObject", source, {"fileProperty": "content"}),
        ],
    }


def table(number: int, file: str, columns: Mapping[str, str]) -> dict[str, Any]:
    """The rows of a Parquet file: the first is called `samples`, the next `samples-1`.

    columns: those beside image and label, with their types.
    """
    name = f"samples-{number}" if number else "samples"
    source = {"fileObject": {"@id": file}}
    image = extracted(f"{name}/image", "sc:ImageObject", source, {"column": "image"})
    image["source"]["transform"] = {"jsonPath": "bytes"}
    kinds = {"label": "sc:Integer"} | {column: _TYPES[kind] for column, kind in columns.items()}
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"A record for each row of {file}.",
        "key": {"@id": f"{name}/index"},
        "field": [
            image,
            *[
                extracted(f"{name}/{column}", kind, source, {"column": column})
                for column, kind in kinds.items()
            ],
        ],
    }


def field(name: str, kind: str) -> dict[str, Any]:
    """A field without a source: of inline data, or one that gets it."""
    return {"@type": "cr:Field", "@id": name, "name": name, "dataType": kind}


def extracted(
    name: str, kind: str, source: dict[str, Any], extract: dict[str, str]
) -> dict[str, Any]:
    """A field that is read from files."""
    return {**field(name, kind), "source": {**source, "extract": extract}}
