"""The dataset of a job as Croissant 1.1, with RAI 1.0 and PROV: JSON-LD that says what it is, how
to read it, and where it comes from (https://docs.mlcommons.org/croissant/).

Record sets are given for what Croissant can read: class folders and Parquet. The other archives
are listed as files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from app.datasets.croissant_records import class_folders, classes, splits, table
from app.datasets.exports.formats import RENDERINGS
from app.jobs.plan import Plan

CONFORMS_TO: Final = [
    "http://mlcommons.org/croissant/1.1",
    "http://mlcommons.org/croissant/RAI/1.0",
]
_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")

CONTEXT: Final[dict[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context of the specification's appendix, and `prov`."""


@dataclass(frozen=True, slots=True)
class File:
    """An archive that can be downloaded."""

    format: str
    url: str
    sha256: str
    bytes: int
    parts: Sequence[str] = ()
    """The Parquet files in it, if each is to be described."""

    @property
    def name(self) -> str:
        """What it is called in the document, and a good name for it on a disk."""
        return f"{self.format}.{RENDERINGS[self.format].extension}"


@dataclass(frozen=True, slots=True)
class Story:
    """What is known of a dataset beside its plan.

    licences: of each model of the plan. biases, limitations, made: sentences of what was measured
    and done.
    """

    job: str
    url: str
    software: str
    began: datetime
    ended: datetime
    files: Sequence[File]
    licences: Sequence[str]
    made: Sequence[str] = ()
    biases: Sequence[str] = ()
    limitations: Sequence[str] = ()


def croissant(plan: Plan, story: Story) -> dict[str, Any]:
    """The document, JSON-ready."""
    published = story.ended.date().isoformat()
    name = f"Synthetic images of {', '.join(model.name for model in plan.models)}"
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "description": _description(plan),
        "identifier": f"synthloom:{plan.identifier}",
        "license": [_licence(text) for text in dict.fromkeys(story.licences)],
        "url": story.url,
        "version": "1.0.0",
        "datePublished": published,
        "dateCreated": published,
        "creator": {"@type": "sc:Organization", "name": story.software, "url": story.url},
        "keywords": ["synthetic", "image classification", *plan.samples_per_class],
        "citeAs": (
            f"@misc{{synthloom-{plan.identifier[:12]}, title={{{name}}}, "
            f"year={{{story.ended.year}}}, note={{made by {story.software}, job {story.job}}}}}"
        ),
        "distribution": _distribution(plan, story.files),
        "recordSet": _record_sets(plan, story.files),
        **_provenance(plan, story),
        **_responsible(plan, story),
    }


def _description(plan: Plan) -> str:
    shape = plan.image
    return (
        f"{plan.samples:,} synthetic images of {len(plan.samples_per_class):,} classes, "
        f"{shape.height} x {shape.width} with {shape.channels} channels, drawn by "
        f"{', '.join(model.ref for model in plan.models)} from seed {plan.seed}. None is a "
        "photograph."
    )


def _licence(text: str) -> str:
    """The address of an SPDX licence; any other text as it is."""
    return f"https://spdx.org/licenses/{text}" if _is_spdx(text) else text


def _is_spdx(text: str) -> bool:
    return text != "unknown" and not text.startswith("LicenseRef") and bool(_SPDX.fullmatch(text))


def _distribution(plan: Plan, files: Sequence[File]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for file in files:
        found.append(
            {
                "@type": "cr:FileObject",
                "@id": file.name,
                "name": file.name,
                "contentUrl": file.url,
                "contentSize": f"{file.bytes} B",
                "encodingFormat": RENDERINGS[file.format].media_type,
                "sha256": file.sha256,
            }
        )
        if file.format == "imagefolder":
            found.append(_image_files(plan, file))
        found += [_part(file, part) for part in file.parts]
    return found


def _image_files(plan: Plan, file: File) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": "imagefolder-files",
        "name": "imagefolder-files",
        "containedIn": {"@id": file.name},
        "encodingFormat": plan.encoding.media_type,
        "includes": f"*/*.{plan.encoding.extension}",
    }


def _part(file: File, part: str) -> dict[str, Any]:
    """A Parquet file: one by one, as readers of Croissant take no set of tables out of a zip."""
    return {
        "@type": "cr:FileObject",
        "@id": part,
        "name": part,
        "containedIn": {"@id": file.name},
        "contentUrl": part,
        "encodingFormat": "application/x-parquet",
    }


def _record_sets(plan: Plan, files: Sequence[File]) -> list[dict[str, Any]]:
    sets = [classes(plan), splits()]
    for file in files:
        if file.format == "imagefolder":
            sets.append(class_folders("imagefolder-files"))
        sets += [table(number, part) for number, part in enumerate(file.parts)]
    return sets


def _provenance(plan: Plan, story: Story) -> dict[str, Any]:
    models = [
        {
            "@type": "prov:Entity",
            "@id": f"urn:sha256:{model.sha256}",
            "prov:label": model.ref,
        }
        for model in plan.models
    ]
    agent = {"@type": "prov:Agent", "prov:label": story.software}
    return {
        "prov:wasDerivedFrom": models,
        "prov:wasAttributedTo": agent,
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "@id": story.url,
            "prov:label": f"Job {story.job}: drawing {plan.samples} images from seed {plan.seed}",
            "prov:startedAtTime": _instant(story.began),
            "prov:endedAtTime": _instant(story.ended),
            "prov:wasAssociatedWith": agent,
        },
    }


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _responsible(plan: Plan, story: Story) -> dict[str, Any]:
    models = ", ".join(model.ref for model in plan.models)
    document: dict[str, Any] = {
        "rai:dataCollection": f"Drawn by the generative models {models}; nothing was recorded.",
        "rai:dataCollectionType": "Others",
        "rai:dataManipulationProtocol": " ".join(
            [f"Written as {plan.encoding.format.upper()} files.", *story.made]
        ),
        "rai:dataUseCases": (
            "Training image classifiers beside real images. Not for measuring them: measure on "
            "real images."
        ),
        "rai:dataBiases": [
            "A generator repeats the biases of the images that it learnt from, and shows rare "
            "forms of a class less often than they are.",
            *story.biases,
        ],
        "rai:dataLimitations": [
            "No image shows a thing that exists; labels are what a generator was asked for"
            + (", as a classifier saw it." if plan.labelled_by else "."),
            *story.limitations,
        ],
        "rai:personalSensitiveInformation": (
            "None was asked for. A generator can come close to single images that it learnt from."
        ),
        "rai:dataReleaseMaintenancePlan": (
            "Never changed: another request is another dataset. The same request and seed give "
            "the same files."
        ),
    }
    if plan.labelled_by:
        document["rai:machineAnnotationTools"] = [plan.labelled_by.ref]
    return document
