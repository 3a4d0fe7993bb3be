"""What Croissant says of a dataset that is merged with a real one, beside what it says of any.

The record set of class folders has no column for what no path tells, so the origin of an image is
looked up: names of samples begin with `synthetic-`, names of real images never do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from app.datasets.croissant_records import extracted, field
from app.datasets.merging.attribution import NOT_STATED
from app.datasets.names import SYNTHETIC_PREFIX
from app.jobs.merge import REAL, SYNTHETIC, PlannedMerge
from app.jobs.plan import Plan

REAL_FORMATS: Final = [
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/bmp",
    "image/x-portable-anymap",
]
"""What an uploaded image may be."""
NOT_KNOWN: Final = ("rai:dataCollectionType", "rai:personalSensitiveInformation")
"""Of real images: they were never looked at for it."""


def dataset_entity(merge: PlannedMerge) -> dict[str, Any]:
    """The real dataset, as PROV has what something was derived from."""
    return {
        "@type": "prov:Entity",
        "@id": f"urn:sha256:{merge.sha256}",
        "prov:label": merge.name,
        "prov:wasAttributedTo": {
            "@type": "prov:Agent",
            "prov:label": merge.attribution or NOT_STATED,
        },
    }


def derived_from(plan: Plan, origin: str) -> list[dict[str, str]]:
    """What the images of one origin were derived from, by reference."""
    if origin == REAL:
        assert plan.merge is not None
        return [{"@id": f"urn:sha256:{plan.merge.sha256}"}]
    return [{"@id": f"urn:sha256:{model.sha256}"} for model in plan.models]


def origins(plan: Plan, merge: PlannedMerge, licences: Sequence[str]) -> dict[str, Any]:
    """Where an image can be from: by what its name begins with; its licence, and whom to name."""
    models = ", ".join(model.ref for model in plan.models)
    rows = [
        (SYNTHETIC, SYNTHETIC_PREFIX, plan.samples, ", ".join(dict.fromkeys(licences)), models),
        (REAL, "", merge.images, merge.licence or NOT_STATED, merge.attribution or NOT_STATED),
    ]
    columns = {
        "name": "sc:Text",
        "prefix": "sc:Text",
        "images": "sc:Integer",
        "license": "sc:Text",
        "attribution": "sc:Text",
        "derived_from": "sc:Text",
    }
    fields = {name: field(f"origins/{name}", kind) for name, kind in columns.items()}
    fields["license"]["equivalentProperty"] = "sc:license"
    fields["attribution"]["equivalentProperty"] = "prov:wasAttributedTo"
    fields["derived_from"] |= {"equivalentProperty": "prov:wasDerivedFrom", "repeated": True}
    return {
        "@type": "cr:RecordSet",
        "@id": "origins",
        "name": "origins",
        "description": "Whether an image was uploaded or drawn, and what that means.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "origins/name"},
        "field": [*fields.values()],
        "data": [
            {
                **dict(zip((f"origins/{name}" for name in columns), row, strict=False)),
                "origins/derived_from": [each["@id"] for each in derived_from(plan, row[0])],
            }
            for row in rows
        ],
    }


def folder_images(file_set: str, merge: PlannedMerge) -> dict[str, Any]:
    """The images of class folders, each with its split, class and origin."""
    source = {"fileSet": {"@id": file_set}}
    start = extracted("images/prefix", "sc:Text", source, {"fileProperty": "filename"})
    start["source"]["transform"] = {"regex": f"^({SYNTHETIC_PREFIX})|^()"}
    start["references"] = {"field": {"@id": "origins/prefix"}}
    origin = field("images/origin", "sc:Text") | {"source": {"field": {"@id": "origins/name"}}}
    name = extracted("images/class", "sc:Text", source, {"fileProperty": "fullpath"})
    # Of a path with a split the second folder, and of a folder alone that folder.
    name["source"]["transform"] = {"regex": "^(?:[^/]+/(?=[^/]+/))?([^/]+)"}
    name["references"] = {"field": {"@id": "classes/folder"}}
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": "A record for each image in a class folder.",
        "key": {"@id": "images/file"},
        "field": [
            start,  # first: readers join by the first reference
            origin,
            extracted("images/file", "sc:Text", source, {"fileProperty": "fullpath"}),
            _split(source, merge),
            name,
            extracted("images/image", "sc:ImageObject", source, {"fileProperty": "content"}),
        ],
    }


def _split(source: dict[str, Any], merge: PlannedMerge) -> dict[str, Any]:
    """The first folder of a path, or the only split that there is."""
    if len(merge.splits) == 1:
        return field("images/split", "sc:Text") | {"value": merge.splits[0]}
    found = extracted("images/split", "sc:Text", source, {"fileProperty": "fullpath"})
    found["source"]["transform"] = {"regex": "^([^/]+)"}
    found["references"] = {"field": {"@id": "splits/name"}}
    return found


def collection(plan: Plan, merge: PlannedMerge) -> dict[str, Any]:
    """RAI: how the images came together, as far as it is known here."""
    models = ", ".join(model.ref for model in plan.models)
    return {
        "rai:dataCollection": (
            f"{plan.samples:,} images were drawn by the generative models {models}. "
            f"{merge.images:,} images were uploaded as the dataset {merge.name}; how those were "
            "collected is for their source to say."
        ),
        "rai:dataUseCases": (
            "Training image classifiers. For measuring them: the real images of the splits "
            "validation and test, which hold no synthetic one."
        ),
    }
