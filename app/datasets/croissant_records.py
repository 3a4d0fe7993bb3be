"""Record sets of a Croissant document: the classes, the splits, and the samples of an archive."""

from __future__ import annotations

from typing import Any

from app.datasets.manifest import Layout
from app.datasets.parquet import COLUMNS
from app.jobs.plan import Plan

_TYPES = {"int64": "sc:Integer", "string": "sc:Text"}


def classes(plan: Plan) -> dict[str, Any]:
    """The list of classes: folder, name, label, and how many samples there are."""
    counts = plan.samples_per_class
    directories = Layout(plan).directories
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "The classes of the dataset.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/folder"},
        "field": [
            _field("classes/folder", "sc:Text"),
            _field("classes/name", "sc:Text"),
            _field("classes/label", "sc:Integer"),
            _field("classes/samples", "sc:Integer"),
        ],
        "data": [
            {
                "classes/folder": directories[name],
                "classes/name": name,
                "classes/label": label,
                "classes/samples": counts.get(name, 0),
            }
            for label, name in enumerate(plan.classes)
        ],
    }


def splits() -> dict[str, Any]:
    """Synthetic images are there to be learnt from: all of them are of the training split."""
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The splits of the dataset: one.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [_field("splits/name", "sc:Text"), _field("splits/url", "sc:URL")],
        "data": [{"splits/name": "train", "splits/url": "cr:TrainingSplit"}],
    }


def class_folders(file_set: str) -> dict[str, Any]:
    """The images of class folders, each with its class and index."""
    source = {"fileSet": {"@id": file_set}}
    folder = {
        **_extracted("images/class", "sc:Text", source, {"fileProperty": "fullpath"}),
        "references": {"field": {"@id": "classes/folder"}},
    }
    # Readers that follow the reference apply this twice: of a folder alone it gives the folder.
    folder["source"]["transform"] = {"regex": "^([^/]+)"}
    index = _extracted("images/index", "sc:Integer", source, {"fileProperty": "filename"})
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
            _extracted("images/image", "sc:ImageObject", source, {"fileProperty": "content"}),
        ],
    }


def table(number: int, file: str) -> dict[str, Any]:
    """The rows of a Parquet file: the first is called `samples`, the next `samples-1`."""
    name = f"samples-{number}" if number else "samples"
    source = {"fileObject": {"@id": file}}
    image = _extracted(f"{name}/image", "sc:ImageObject", source, {"column": "image"})
    image["source"]["transform"] = {"jsonPath": "bytes"}
    columns = [("label", "sc:Integer")] + [(name, _TYPES[kind]) for name, kind in COLUMNS.items()]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"A record for each row of {file}.",
        "key": {"@id": f"{name}/index"},
        "field": [
            image,
            *[
                _extracted(f"{name}/{column}", kind, source, {"column": column})
                for column, kind in columns
            ],
        ],
    }


def _field(name: str, kind: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": name, "name": name, "dataType": kind}


def _extracted(
    name: str, kind: str, source: dict[str, Any], extract: dict[str, str]
) -> dict[str, Any]:
    return {**_field(name, kind), "source": {**source, "extract": extract}}
