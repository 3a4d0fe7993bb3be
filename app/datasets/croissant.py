"""The dataset of a job as Croissant 1.1, with RAI 1.0 and PROV: JSON-LD that says what it is, how
to read it, and where it comes from (https://docs.mlcommons.org/croissant/).

Record sets are given for what Croissant can read: class folders and Parquet. The other archives
are listed as files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from app.datasets.croissant_context import CONTEXT
from app.datasets.croissant_merged import (
    NOT_KNOWN,
    REAL_FORMATS,
    collection,
    dataset_entity,
    derived_from,
    folder_images,
    origins,
)
from app.datasets.croissant_records import class_folders, classes, splits, table
from app.datasets.exports.formats import RENDERINGS
from app.datasets.exports.parquet_dataset import DataFile
from app.datasets.merging.attribution import NOT_STATED
from app.datasets.parquet import columns_of
from app.jobs.plan import Plan

CONFORMS_TO: Final = [
    "http://mlcommons.org/croissant/1.1",
    "http://mlcommons.org/croissant/RAI/1.0",
]
_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


@dataclass(frozen=True, slots=True)
class File:
    """An archive that can be downloaded."""

    format: str
    url: str
    sha256: str
    bytes: int
    parts: Sequence[DataFile] = ()
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
    name = _name(plan)
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "description": _description(plan),
        "identifier": f"synthloom:{plan.identifier}",
        "license": _licences(plan, story),
        "url": story.url,
        "version": "1.0.0",
        "datePublished": published,
        "dateCreated": published,
        "creator": {"@type": "sc:Organization", "name": story.software, "url": story.url},
        "keywords": ["synthetic", "image classification", *_classes(plan)],
        "citeAs": (
            f"@misc{{synthloom-{plan.identifier[:12]}, title={{{name}}}, "
            f"year={{{story.ended.year}}}, note={{made by {story.software}, job {story.job}}}}}"
        ),
        "distribution": _distribution(plan, story.files),
        "recordSet": _record_sets(plan, story),
        **_provenance(plan, story),
        **_responsible(plan, story),
    }


def _name(plan: Plan) -> str:
    kind = "Synthetic images" if plan.merge is None else f"{plan.merge.name} with synthetic images"
    return f"{kind} of {', '.join(model.name for model in plan.models)}"


def _classes(plan: Plan) -> Iterable[str]:
    return plan.samples_per_class if plan.merge is None else plan.classes


def _description(plan: Plan) -> str:
    shape, merge = plan.image, plan.merge
    drawn = (
        f"{plan.samples:,} synthetic images of {len(plan.samples_per_class):,} classes, "
        f"{shape.height} x {shape.width} with {shape.channels} channels, drawn by "
        f"{', '.join(model.ref for model in plan.models)} from seed {plan.seed}. "
    )
    if merge is None:
        return f"{drawn}None is a photograph."
    return (
        f"{drawn}They lie in the split train, beside {merge.images:,} real images of the dataset "
        f"{merge.name}, in the splits {', '.join(merge.splits)} (licence: "
        f"{merge.licence or NOT_STATED}; attribution: {merge.attribution or NOT_STATED})."
    )


def _licences(plan: Plan, story: Story) -> list[str]:
    """Of the models, then of the real images, in the words of who uploaded them."""
    models = [_licence(text) for text in dict.fromkeys(story.licences)]
    return models if plan.merge is None else [*models, plan.merge.licence or NOT_STATED]


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
        found += [_part(plan, file, part) for part in file.parts]
    return found


def _image_files(plan: Plan, file: File) -> dict[str, Any]:
    found: dict[str, Any] = {
        "@type": "cr:FileSet",
        "@id": "imagefolder-files",
        "name": "imagefolder-files",
        "containedIn": {"@id": file.name},
        "encodingFormat": plan.encoding.media_type,
        "includes": f"*/*.{plan.encoding.extension}",
    }
    if plan.merge is not None:  # real files keep their names, and may be of any kind
        found["encodingFormat"] = [*dict.fromkeys([plan.encoding.media_type, *REAL_FORMATS])]
        found["includes"] = "*/*" if len(plan.merge.splits) == 1 else "*/*/*"
    return found


def _part(plan: Plan, file: File, part: DataFile) -> dict[str, Any]:
    """A Parquet file: one by one, as readers of Croissant take no set of tables out of a zip."""
    found: dict[str, Any] = {
        "@type": "cr:FileObject",
        "@id": part.name,
        "name": part.name,
        "containedIn": {"@id": file.name},
        "contentUrl": part.name,
        "encodingFormat": "application/x-parquet",
    }
    if plan.merge is not None:
        found["prov:wasDerivedFrom"] = derived_from(plan, part.origin)
    return found


def _record_sets(plan: Plan, story: Story) -> list[dict[str, Any]]:
    sets = [classes(plan), splits(plan)]
    if plan.merge is not None:
        sets.append(origins(plan, plan.merge, story.licences))
    for file in story.files:
        if file.format == "imagefolder" and plan.merge is not None:
            sets.append(folder_images("imagefolder-files", plan.merge))
        elif file.format == "imagefolder":
            sets.append(class_folders("imagefolder-files"))
        columns = columns_of(plan)
        sets += [table(number, part.name, columns) for number, part in enumerate(file.parts)]
    return sets


def _provenance(plan: Plan, story: Story) -> dict[str, Any]:
    models: list[dict[str, Any]] = [
        {
            "@type": "prov:Entity",
            "@id": f"urn:sha256:{model.sha256}",
            "prov:label": model.ref,
        }
        for model in plan.models
    ]
    if plan.merge is not None:
        models.append(dataset_entity(plan.merge))
    agent = {"@type": "prov:Agent", "prov:label": story.software}
    return {
        "prov:wasDerivedFrom": models,
        "prov:wasAttributedTo": agent,
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "@id": story.url,
            "prov:label": f"Job {story.job}: drawing {plan.drawn} images from seed {plan.seed}",
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
            [f"Samples are written as {plan.encoding.format.upper()} files.", *story.made]
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
            "No synthetic image shows a thing that exists; its label is what a generator was asked "
            + ("for, as a classifier saw it." if plan.labelled_by else "for."),
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
    if plan.merge is not None:
        document |= collection(plan, plan.merge)
        for name in NOT_KNOWN:
            del document[name]
    if plan.labelled_by:
        document["rai:machineAnnotationTools"] = [plan.labelled_by.ref]
    return document
