"""What a client asks for, and the plan that follows from it. Pure: models come in as specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    StringConstraints,
    field_validator,
    model_validator,
)

from app.checks.asked import Checks
from app.errors import (
    JobTooLargeError,
    UnconditionalModelError,
    UnknownClassError,
    ValidationError,
)
from app.jobs.asked_checks import AskedFor, checks_of
from app.jobs.asked_copies import RealImages
from app.jobs.asked_report import AskedReport, Gate
from app.jobs.balance import Balance, lacking
from app.jobs.encoding import PNG, AskedEncoding, Encoding
from app.jobs.formats import AskedFormat, Format, ImageFolder, check_cut, each_once
from app.jobs.labelled_by import AskedLabelledBy, LabelledBy, classifier_of, fitting
from app.jobs.merge import PlannedMerge, merged_classes, refuse_strangers
from app.jobs.plan import (
    Plan,
    PlannedClassifier,
    PlannedModel,
    engine_batch,
    images_drawn,
    shard_count,
)
from app.jobs.sampling import Sampling, sampling_of
from app.jobs.sources import (
    ModelRef,
    Source,
    WeightedModel,
    cells_of,
    classes_of,
    covered,
    sources_of,
)
from app.jobs.transforms import MOST as MOST_TRANSFORMS
from app.jobs.transforms import MOST_VARIANTS, Transform, refuse_equal, refuse_unfit
from app.jobs.webhook import Webhook
from models.classifier_spec import ClassifierSpec
from models.spec import ModelSpec

MAX_SEED = 2**53 - 1
"""Largest seed: the largest integer that every JSON reader keeps exactly."""

DatasetRef = Annotated[StrictStr, StringConstraints(min_length=1, max_length=100)]
MARKS = 1
"""The form of the marks in image files that new plans have."""


class JobRequest(BaseModel):
    """A request for samples of one or several models."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    model: ModelRef | None = Field(default=None, description="short for one entry of `models`")
    models: list[WeightedModel] = Field(default=[], max_length=16)
    samples_per_class: dict[StrictStr, StrictInt] | StrictInt | None = Field(
        default=None, description="class → samples, or one number for every class"
    )
    balance: Balance | None = Field(
        default=None,
        description="in place of `samples_per_class`: what a real dataset lacks to be balanced",
    )
    samples: StrictInt | None = Field(
        default=None, description="for models that can't be asked for a class"
    )
    labelled_by: AskedLabelledBy | None = Field(
        default=None,
        description="for models that can't be asked for a class: the classifier that labels what "
        "they draw, so that samples_per_class can be filled",
    )
    merge_with: DatasetRef | None = Field(
        default=None,
        description="an uploaded dataset, by id or name: the archives hold its images too, as they "
        "are and in their splits, with the samples in `train`",
    )
    transforms: list[Transform] = Field(
        default=[],
        max_length=MOST_TRANSFORMS,
        description="what happens to each image after it is drawn and checked, in this order",
    )
    variants: Annotated[StrictInt, Field(ge=1, le=MOST_VARIANTS)] = Field(
        default=1,
        description="samples that the transforms make of each drawn image; the numbers asked for "
        "are of samples",
    )
    checks: Checks | None = Field(
        default=None, description="what is refused, and drawn again until all N samples pass"
    )
    seed: Annotated[StrictInt, Field(ge=0, le=MAX_SEED)] | None = None
    sampling: Sampling | None = Field(
        default=None, description="how latents are drawn; standard normals without it"
    )
    encoding: AskedEncoding = Field(
        default=PNG, description="of the image files: `png`, `webp`, `jpeg`, or one with options"
    )
    marked: bool = Field(
        default=True,
        description="whether each image file says that it is synthetic, and which sample it is",
    )
    c2pa: bool = Field(
        default=False,
        description="whether each image file has a C2PA manifest, signed with the server's own "
        "certificate",
    )
    formats: list[AskedFormat] = Field(
        default=[ImageFolder()],
        min_length=1,
        max_length=8,
        description="archives to build: a name, or one with options",
    )

    report: AskedReport | None = Field(
        default=None,
        description="what the job's report shall hold beside what the job itself shows",
    )
    gate: Gate | None = Field(
        default=None,
        description="conditions on the figures of the report; a job that does not meet them fails",
    )
    webhook: Webhook | None = Field(
        default=None, description="who is told when the job has ended; nothing of the dataset"
    )

    @field_validator("formats")
    @classmethod
    def _once(cls, formats: list[Format]) -> list[Format]:
        return each_once(formats)

    @model_validator(mode="after")
    def _asked_in_one_way(self) -> Self:
        if self.balance is not None and (self.samples_per_class is not None or self.samples):
            raise ValueError('"balance" takes the place of "samples_per_class" and "samples"')
        return self

    def sources(self) -> list[WeightedModel]:
        """The models asked for; exactly one of `model` and `models` may be given."""
        if (self.model is None) == (not self.models):
            raise ValidationError('Give either "model" or a non-empty list "models".')
        return self.models or [WeightedModel(model=self.model or "")]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a deployment allows and how it cuts jobs."""

    max_job_samples: int
    shard_samples: int
    engine_batch: int
    encoders: Mapping[str, str]
    """Format of an image file → name and version of its encoder."""
    precision: str = "float32"
    classifiers: tuple[ClassifierSpec, ...] = ()
    """Those that may label what models draw."""


def make_plan(
    request: JobRequest,
    specs: Sequence[ModelSpec],
    seed: int,
    limits: Limits,
    merge: PlannedMerge | None = None,
    real: RealImages | None = None,
) -> Plan:
    """The plan of a request over the specs of its models, in the order in which it names them.

    A request that balances a dataset has its counts filled in; `merge` is the dataset that it is
    merged with, `real` that of its check `copies`. Raises a ValidationError of the tree.
    """
    sources = sources_of(request.sources(), specs)
    _check_encoding(request.encoding, specs[0])
    refuse_unfit(request.transforms, specs[0].image)
    refuse_equal(request.variants, request.transforms, specs[0].image)
    asked = request.labelled_by
    judge = classifier_of(asked, specs, limits.classifiers) if asked else None
    drawn = judge.classes if judge else classes_of(sources)
    quotas = _quotas(request, sources, drawn, limits.classifiers)
    _check_merge(request, quotas, merge)
    classes = merged_classes(drawn, merge, labelled=judge is not None)
    total = sum(quotas.values())
    if total > limits.max_job_samples:
        # str() refuses integers of more than 4,300 digits, and nobody wants to read them.
        shown = str(total) if total < 10**15 else "More than 10^15"
        raise JobTooLargeError(
            f"{shown} samples were asked for; a job of this server may have at most "
            f"{limits.max_job_samples}. Split it into several jobs.",
            limit=limits.max_job_samples,
        )
    check_cut(request.formats, total)
    cells = cells_of(quotas, sources, classes)
    images = images_drawn(cells, request.variants)
    return Plan(
        seed=seed,
        classes=classes,
        models=tuple(
            PlannedModel(spec.name, spec.version, spec.sha256, source.asked.weight)
            for source in sources
            for spec in (source.spec,)
        ),
        cells=cells,
        image=specs[0].image,
        shards=shard_count(images, specs[0].image.bytes, limits.shard_samples, request.variants),
        engine_batch=engine_batch(images, limits.engine_batch),
        encoder=limits.encoders[request.encoding.format],
        encoding=request.encoding,
        precision=limits.precision,
        labelled_by=_pinned(judge, asked) if judge and asked else None,
        real_samples_per_class=request.balance.counts if request.balance else None,
        marks=MARKS if request.marked else 0,
        c2pa=request.c2pa,
        transforms=tuple(request.transforms),
        variants=request.variants,
        merge=merge,
        sampling=sampling_of(request.sampling, specs),
        checks=checks_of(request.checks, _asked_for(request, specs, classes, quotas, limits, real)),
    )


def _asked_for(
    request: JobRequest,
    specs: Sequence[ModelSpec],
    classes: tuple[str, ...],
    quotas: Mapping[str, int],
    limits: Limits,
    real: RealImages | None,
) -> AskedFor:
    return AskedFor(
        image=specs[0].image,
        classes=classes,
        wanted=frozenset(quotas),
        by_class=specs[0].conditional,
        samples=sum(quotas.values()),
        labelled=request.labelled_by is not None,
        classifiers=limits.classifiers,
        real=real,
    )


def _check_merge(
    request: JobRequest, quotas: Mapping[str, int], merge: PlannedMerge | None
) -> None:
    if merge is None and request.merge_with is not None:
        raise ValidationError(
            'Only a job can be merged with an uploaded dataset: leave "merge_with" out here.'
        )
    if merge is None:
        return
    refuse_strangers(list(quotas), merge)


def _pinned(judge: ClassifierSpec, asked: LabelledBy) -> PlannedClassifier:
    return PlannedClassifier(judge.name, judge.version, judge.sha256, asked.min_confidence)


def _check_encoding(encoding: Encoding, spec: ModelSpec) -> None:
    if spec.image.channels not in encoding.modes:
        raise ValidationError(
            f'"{spec.name}" makes images with an alpha channel, which {encoding.format.upper()} '
            'files can\'t hold; ask for the encoding "png" or "webp".'
        )


def _quotas(
    request: JobRequest,
    sources: Sequence[Source],
    classes: tuple[str, ...],
    classifiers: Sequence[ClassifierSpec],
) -> dict[str, int]:
    specs = [source.spec for source in sources]
    unconditional = [spec.name for spec in specs if not spec.conditional]
    if unconditional and len(unconditional) != len(specs):
        raise ValidationError("A job can't mix models that take a class with models that don't.")
    if unconditional and request.labelled_by is None:
        fits = [spec.name for spec in fitting(classifiers, specs[0].image)]
        return _unlabelled_quota(request, unconditional[0], classes[0], fits)
    if request.samples is not None:
        labelled = " where a classifier labels what it draws" if unconditional else ""
        raise ValidationError(
            f'"{specs[0].name}" is asked by class{labelled}: give "samples_per_class" (class → '
            'number, or one number for every class) instead of "samples".'
        )
    able = covered(sources, classes)
    quotas = _asked_by_class(request, able)
    _check_quotas(quotas, able)
    return {name: n for name, n in quotas.items() if n}


def _asked_by_class(request: JobRequest, able: Sequence[str]) -> dict[str, int]:
    if request.balance is not None:
        if request.balance.counts is None:  # a job's are filled in from its dataset
            raise ValidationError(
                'Only a job can balance an uploaded dataset: give "counts" here, class → images.'
            )
        return lacking(request.balance.counts, request.balance.to)
    wanted = request.samples_per_class
    if wanted is None:
        raise ValidationError('Give "samples_per_class": class → number, or one number for all.')
    return dict.fromkeys(able, wanted) if isinstance(wanted, int) else dict(wanted)


def _unlabelled_quota(
    request: JobRequest, model: str, only_class: str, fits: Sequence[str]
) -> dict[str, int]:
    if request.samples_per_class is not None or request.balance is not None:
        way_out = f', or "labelled_by": "{fits[0]}" to have what it draws labelled' if fits else ""
        raise UnconditionalModelError(
            f'"{model}" was trained without labels, so nothing in it can be asked for a class; '
            f'give "samples": N for N images of the class "unlabelled"{way_out}, or take a '
            "conditional model.",
            classifiers=list(fits),
        )
    if request.samples is None:
        raise ValidationError(f'"{model}" takes no class: give "samples": N.')
    _check_quotas({only_class: request.samples}, (only_class,))
    return {only_class: request.samples}


def _check_quotas(quotas: Mapping[str, int], classes: Sequence[str]) -> None:
    known = set(classes)
    unknown = [name for name in quotas if name not in known]
    if unknown:
        # repr() keeps control characters of a hostile name out of logs and terminals.
        shown = ", ".join(ascii(name[:80]) for name in unknown[:5])
        raise UnknownClassError(
            f"Unknown class {shown}. This request can ask for: {', '.join(classes[:50])}.",
            known_classes=list(classes[:1000]),
        )
    negative = [name for name, n in quotas.items() if n < 0]
    if negative:
        raise ValidationError(f"A number of samples can't be negative: {', '.join(negative[:5])}.")
    if not sum(quotas.values()):
        raise ValidationError("Nothing was asked for: give at least one class a positive number.")
