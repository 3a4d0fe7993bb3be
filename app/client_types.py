"""What the service answers, typed. Members a newer service adds are ignored."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypedDict

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Answer(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class ImageSize(Answer):
    """Pixels of every image of a model."""

    height: int
    width: int
    channels: int


class Model(Answer):
    """A registered generator."""

    name: str
    version: str
    default: bool = True
    """Whether it is the version that the name alone means."""
    sha256: Sha256
    family: str
    architecture: str
    conditioning: str
    classes: list[str]
    image: ImageSize
    latent_size: int
    licence: str
    description: str = ""
    figures: dict[str, Any] = {}
    created: datetime | None = None
    probe: dict[str, Any] | None = None
    """What was measured when it was imported."""
    warnings: list[str] = []
    """Why what it makes is not worth serving, if its owner insisted."""
    spec: dict[str, Any] | None = None
    """The whole specification; only in the answer about one model."""

    @property
    def reference(self) -> str:
        """`name@version`, which a job can ask for."""
        return f"{self.name}@{self.version}"


class ModelVersions(Answer):
    """Every version of a model, the newest first."""

    name: str
    default: str
    """The version that the name alone means."""
    chosen: bool
    """Whether it was chosen; if not, it is the newest."""
    versions: list[Model]


class Candidate(Answer):
    """One answer to a question that weights leave open."""

    label: str
    why: str


class Unknown(Answer):
    """A question that weights leave open; the first candidate is the likeliest."""

    name: str
    question: str
    candidates: list[Candidate]


class Reading(Answer):
    """One way to read a file, and a contact sheet (PNG, base64) of what it draws then."""

    answers: dict[str, str]
    spec: dict[str, Any]
    findings: list[dict[str, str]]
    preview: str | None


class Inspection(Answer):
    """What a file of weights is. `spec` is the import spec of the likeliest reading."""

    format: str
    tensors: list[dict[str, Any]]
    facts: list[str]
    unknowns: list[Unknown]
    spec: dict[str, Any] | None
    tries: list[Reading]


class ImageSizes(Answer):
    """Pixels: the least and the greatest sides, and the channels of the richest image."""

    smallest_height: int
    smallest_width: int
    largest_height: int
    largest_width: int
    channels: int

    @property
    def shown(self) -> str:
        """Width x height x channels, or from the smallest to the largest."""
        least = f"{self.smallest_width} x {self.smallest_height}"
        most = f"{self.largest_width} x {self.largest_height}"
        return f"{least if least == most else f'{least} … {most}'} x {self.channels}"


class Dataset(Answer):
    """A real dataset that was uploaded."""

    id: str
    name: str
    kind: str
    """The format it came in."""
    classes: list[str]
    samples: int
    counts: dict[str, dict[str, int]]
    """Images of each split and class."""
    groups: dict[str, int] = {}
    image: ImageSizes
    ignored: int = 0
    """Files that are no images."""
    sha256: Sha256
    """Of the content, whatever the format it came in."""
    file_sha256: Sha256
    bytes: int
    licence: str = ""
    attribution: str = ""
    created: datetime


class DatasetList(Answer):
    """Every dataset, the oldest first."""

    datasets: list[Dataset]


class JobState(StrEnum):
    """The states of a job; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    FINALIZING = "finalizing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """True when the job will not change any more."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Progress(Answer):
    """How far a job is."""

    samples: int
    samples_done: int
    shards: int = 0
    shards_done: int = 0
    candidates_refused: int = 0
    refused: dict[str, int] = {}
    """The same by reason."""


class Archive(Answer):
    """A file that a succeeded job offers for download."""

    format: str
    bytes: int
    sha256: Sha256
    entries: int
    url: str = ""


class JobModel(Answer):
    """One of the models that a job draws from."""

    name: str
    version: str
    sha256: str
    weight: float = 1.0


class JobReport(Answer):
    """The report of a job that has ended."""

    verdict: str
    gate: dict[str, Any] | None = None
    """Each condition that was asked for, and what came of it."""


class Job(Answer):
    """A request for samples, and what became of it."""

    id: str
    dataset_identifier: str = ""
    """Equal for equal plans, on every server; image files carry it."""
    state: JobState
    seed: int
    samples: int
    samples_per_class: dict[str, int]
    classes: list[str] = []
    models: list[JobModel]
    labelled_by: dict[str, Any] | None = None
    """The classifier that labels what the models draw, if one does."""
    merged_with: dict[str, Any] | None = None
    """The real dataset that its archives hold too."""
    sampling: dict[str, Any] | None = None
    """How latents were drawn, where not as standard normals."""
    transforms: list[dict[str, Any]] = []
    """What happens to images after they are drawn."""
    variants: int = 1
    """Samples that become of each drawn image."""
    encoding: dict[str, Any] = {"format": "png"}
    formats: list[str] = []
    progress: Progress
    archives: list[Archive] = []
    gate: list[str] = []
    """Conditions that its report has to meet."""
    report: JobReport | None = None
    checks: dict[str, Any] = {}
    """What candidates are refused for."""
    copies: dict[str, Any] | None = None
    """Of which training images none may be a copy, and from which distance on one is."""
    webhook: dict[str, Any] | None = None
    """Who is told of its end, and what came of it."""
    warnings: list[str] = []
    """Why what its models make is not worth serving."""
    problem: dict[str, Any] | None = None
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None

    def archive(self, format: str) -> Archive | None:  # noqa: A002 - the service's word
        """The archive of one format, once the job has succeeded."""
        return next((archive for archive in self.archives if archive.format == format), None)


class Estimate(Answer):
    """What a job would be, without running it."""

    samples: int
    samples_per_class: dict[str, int]
    drawn: int | None = None
    """Images that the models draw for them."""
    shards: int
    archive_bytes: int
    seconds: float | None = None
    basis: str = ""
    seed: int | None = None
    labelling: dict[str, Any] | None = None
    """Candidates that it takes, where a classifier labels them."""
    warnings: list[str] = []
    """Why what its models make is not worth serving."""


class Row(Answer):
    """One sample of the manifest."""

    index: int
    class_name: str = Field(alias="class")
    label: int
    model: str
    model_sha256: str
    seed: int
    shard: int
    candidate: int
    file: str
    bytes: int
    file_sha256: Sha256
    pixel_sha256: str
    width: int
    height: int
    channels: int
    created: datetime | None = None
    variant_of: int | None = None
    """Index of the first sample that became of the same drawn image, where they are several."""
    variant: int | None = None


class JobPage(Answer):
    """Jobs, newest first; `next` is the token of the page after this one."""

    jobs: list[Job]
    next: str | None = None


class ManifestPage(Answer):
    """Rows in the order of their index."""

    samples: list[Row]
    next: str | None = None


class Readiness(Answer):
    """What the service says of itself; `workers` have given a sign of life lately."""

    workers: int


class Classifier(Answer):
    """Who can label what a model without classes draws."""

    name: str
    version: str
    sha256: Sha256
    classes: list[str]
    image: ImageSize
    licence: str
    description: str = ""
    figures: dict[str, Any] = {}

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


class ClassifierList(Answer):
    """All classifiers."""

    classifiers: list[Classifier]


class ModelList(Answer):
    """All registered models."""

    models: list[Model]


class JobRequest(TypedDict, total=False):
    """The body of a submission; leave out what does not apply."""

    model: str
    models: list[dict[str, Any]]
    samples_per_class: dict[str, int] | int
    balance: dict[str, Any]
    """What a real dataset lacks: `counts` or `dataset`, and `to`."""
    samples: int
    labelled_by: str | dict[str, Any]
    """Of models without classes: a classifier, or its name and `min_confidence`."""
    transforms: list[dict[str, Any]]
    """What happens to each image after it is drawn, in this order."""
    variants: int
    """Samples that the transforms make of each drawn image."""
    merge_with: str
    """An uploaded dataset, by id or name: the archives hold its images too."""
    checks: dict[str, Any]
    """What candidates are refused for: `brightness`, `contrast` (`min`, `max`), `label_agreement`,
    `copies` (`dataset`, `percentile`), `near_duplicates`."""
    seed: int
    sampling: dict[str, float]
    """How latents are drawn: `truncation`, `psi`, `temperature`."""
    encoding: str | dict[str, Any]
    marked: bool
    """Whether image files say that they are synthetic, and which sample they are."""
    c2pa: bool
    """Whether image files are signed with the server's C2PA certificate."""
    formats: list[str | dict[str, Any]]
    """Names, or formats with options: `{"type": "webdataset", "shard_samples": 1000}`."""
    report: dict[str, Any]
    """To hold the samples against real images: `against`, `lift`, `minutes`."""
    gate: dict[str, float | str] | list[str]
    """Conditions on figures of the report; a job that does not meet them fails."""
    webhook: dict[str, str]
    """Who is told when the job has ended: `url`."""
