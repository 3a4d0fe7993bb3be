"""Jobs by class of models that take no class: who labels, who fills what, and when it ends."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.datasets.imagefolder import dataset_document
from app.datasets.zip_writer import ZipWriter
from app.errors import (
    DryClassError,
    JobStoppedError,
    UnconditionalModelError,
    UnknownClassError,
    UnknownClassifierError,
    ValidationError,
)
from app.jobs.drawing import AtOnce
from app.jobs.openings import FEWEST_OWED, most_candidates
from app.jobs.pilot import Pilot, labelling
from app.jobs.plan import Plan
from app.jobs.request import JobRequest
from app.jobs.shard import ShardRun
from models.classifier_spec import ClassifierSpec
from models.latents import normal
from models.spec import Weights
from models.verdicts import Verdicts
from tests.builders import image, planned, spec

SIDE, LATENT = 6, 5
CLASSES = ("often", "seldom", "never")


def judge(name: str = "judge", version: str = "1.0", **fields: Any) -> ClassifierSpec:
    document = {
        "name": name,
        "version": version,
        "image": image(SIDE, SIDE),
        "classes": CLASSES,
        "licence": "Apache-2.0",
        "weights": Weights(sha256=hashlib.sha256(name.encode()).hexdigest(), bytes=1),
    }
    return ClassifierSpec.model_validate(document | fields)


def maker(name: str = "maker") -> Any:
    return spec(name, (), image=image(SIDE, SIDE))


def labelled_plan(counts: dict[str, int] | int, confidence: float = 0.0, **fields: Any) -> Plan:
    asked = {"classifier": "judge", "min_confidence": confidence}
    body = {"model": "maker", "samples_per_class": counts, "labelled_by": asked} | fields
    specs = [maker(source["model"]) for source in body.get("models", [{"model": "maker"}])]
    return planned(body, *specs, classifiers=(judge(),))


class Made(NamedTuple):
    pixels: NDArray[np.uint8]
    finite: NDArray[np.bool_]


def digest(model: str, z: NDArray[np.float32]) -> bytes:
    return hashlib.sha256(model.encode() + z.tobytes()).digest()


@dataclass
class Arithmetic:
    """Images that are a digest of model and latent; every eighth is not finite."""

    drawn: int = 0

    def latent_size(self, model: str) -> int:
        return LATENT

    def generate(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Made:
        assert labels is None
        assert 0 < len(z) <= batch
        self.drawn += len(z)
        whole = [(digest(model, row) * 2)[: SIDE * SIDE] for row in z]
        pixels = np.frombuffer(b"".join(whole), np.uint8).reshape(-1, SIDE, SIDE, 1)
        return Made(pixels, pixels[:, 0, 0, 0] >= 32)


def verdict(pixels: NDArray[np.uint8]) -> Verdicts:
    """The second byte decides: 7 of 8 are `often`, the others `seldom`; the third how surely."""
    labels = (pixels[:, 0, 1, 0] < 32).astype(np.int64)
    return Verdicts(labels, (pixels[:, 0, 2, 0] / np.float32(256)).astype(np.float32))


@dataclass
class Labelled:
    """What a run was labelled by."""

    asked: list[str] = field(default_factory=list)

    def __call__(self, classifier: str, pixels: NDArray[np.uint8]) -> Verdicts:
        self.asked.append(classifier)
        return verdict(pixels)


def run(
    plan: Plan,
    shard: int = 0,
    factor: float = 10.0,
    report: Callable[[int], None] = lambda _: None,
    engine: Arithmetic | None = None,
) -> tuple[ShardRun, dict[str, bytes]]:
    with ThreadPoolExecutor(2) as pool:
        made = ShardRun(
            plan=plan,
            shard=plan.shard(shard),
            engine=AtOnce(engine or Arithmetic()),
            encoders=pool,
            report=report,
            refusal_factor=factor,
            label=Labelled(),
        )
        sink = io.BytesIO()
        members = ZipWriter(sink)
        try:
            made.write(members)
            members.close()
        finally:
            members.discard()
    with zipfile.ZipFile(sink) as archive:
        return made, {name: archive.read(name) for name in archive.namelist()}


def expected(plan: Plan, shard: int, model: int = 0) -> list[tuple[int, int]]:
    """(sample, candidate) by the rule as it is told: one candidate after the other."""
    found, cut = [], plan.shard(shard)
    judged = plan.labelled_by
    assert judged is not None
    cells = [plan.cells[cell] for cell in cut.cells]
    open_samples = [k for k, cell in enumerate(cells) if cell.model == model]
    sha256, candidate = plan.models[model].sha256, 0
    while open_samples:
        z = normal(seed=plan.seed, model=sha256, shard=shard, first=candidate, count=1, size=LATENT)
        made = Arithmetic().generate(sha256, z, None, 1)
        label, sure = (column[0] for column in verdict(made.pixels))
        fits = [k for k in open_samples if cells[k].label == label]
        if made.finite[0] and sure >= judged.min_confidence and fits:
            found.append((cut.first + fits[0], candidate))
            open_samples.remove(fits[0])
        candidate += 1
    return sorted(found)


# Filling


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 40), st.integers(1, 25), st.integers(1, 3), st.integers(1, 70),
    st.sampled_from([0.0, 0.5, 0.9]),
)  # fmt: skip
def test_candidates_fill_the_classes_in_order(
    often: int, seldom: int, shards: int, batch: int, confidence: float
) -> None:
    plan = labelled_plan({"often": often, "seldom": seldom}, confidence)
    plan = replace(plan, shards=shards, engine_batch=batch)
    for shard in range(shards):
        made, _ = run(plan, shard)
        assert [(row.sample, row.candidate) for row in made.rows] == expected(plan, shard)


def test_exactly_as_many_of_each_class_as_asked() -> None:
    plan = replace(labelled_plan({"often": 31, "seldom": 17}), shards=2)
    rows = [row for shard in range(2) for row in run(plan, shard)[0].rows]
    assert [row.sample for row in rows] == list(range(48))
    assert Counter(plan.classes[plan.cells[row.cell].label] for row in rows) == {
        "often": 31,
        "seldom": 17,
    }


def test_files_are_in_the_folder_of_their_label() -> None:
    plan = labelled_plan({"often": 20, "seldom": 20}, confidence=0.5)
    made, files = run(plan)
    assert len(files) == 40
    for row in made.rows:
        z = normal(
            seed=7, model=plan.models[0].sha256, shard=0, first=row.candidate, count=1, size=LATENT
        )
        pixels = Arithmetic().generate(plan.models[0].sha256, z, None, 1).pixels
        label, sure = (column[0] for column in verdict(pixels))
        assert sure >= 0.5
        assert f"{CLASSES[label]}/{row.sample:08d}.png" in files
        assert row.pixel_sha256 == hashlib.sha256(pixels[0].tobytes()).digest()


@pytest.mark.parametrize("batch", [1, 3, 64, 1000])
def test_the_batch_size_changes_nothing(batch: int) -> None:
    plan = labelled_plan({"often": 40, "seldom": 20}, confidence=0.3)
    one, files = run(replace(plan, engine_batch=batch))
    two, reference = run(replace(plan, engine_batch=16))
    assert files == reference
    assert [row.candidate for row in one.rows] == [row.candidate for row in two.rows]
    assert one.refused == two.refused == max(row.candidate for row in one.rows) + 1 - 60


def test_each_of_several_models_fills_its_own_share() -> None:
    models = [{"model": "maker", "weight": 2}, {"model": "other"}]
    body = {"models": models, "samples_per_class": 30, "labelled_by": "judge", "seed": 7}
    classes = replace_classes(judge(), ("often", "seldom"))
    plan = planned(body, maker(), maker("other"), classifiers=(classes,))
    made, _ = run(plan)
    cells = [plan.cells[row.cell] for row in made.rows]
    shares = {(0, 0): 20, (0, 1): 20, (1, 0): 10, (1, 1): 10}
    assert Counter((cell.model, cell.label) for cell in cells) == shares
    found = sorted((row.sample, row.candidate) for row in made.rows)
    assert found == sorted(expected(plan, 0) + expected(plan, 0, model=1))


def replace_classes(found: ClassifierSpec, classes: tuple[str, ...]) -> ClassifierSpec:
    return found.model_copy(update={"classes": classes})


def test_shards_share_no_image() -> None:
    plan = replace(labelled_plan({"often": 40, "seldom": 10}), shards=2)
    hashes = [row.pixel_sha256 for shard in range(2) for row in run(plan, shard)[0].rows]
    assert len(set(hashes)) == 50


# A class that runs dry


def test_a_class_that_never_comes_is_named_with_the_figures() -> None:
    engine = Arithmetic()
    with pytest.raises(DryClassError) as dry:
        run(labelled_plan({"often": 5, "never": 3}, 0.25), factor=2.0, engine=engine)
    members = dry.value.members
    assert members["missing"] == {"never": 3}
    assert members["labelled"]["never"] == 0
    assert members["labelled"]["often"] > members["labelled"]["seldom"] > 0
    limit = most_candidates(8, 2.0, len(CLASSES))
    assert engine.drawn == limit == FEWEST_OWED * 3 * 2
    assert set(members["refused"]) == {"not-finite", "low-confidence", "other-class-full"}
    assert sum(members["refused"].values()) == limit - 5
    for words in ("'never' (3 missing, 0 labelled so)", "judge@1.0", "maker@1.0", "0.25 or more"):
        assert words in dry.value.detail
    assert f"of {limit} candidates" in dry.value.detail
    assert "'often'" not in dry.value.detail


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_the_limit_does_not_depend_on_the_batch(batch: int) -> None:
    engine = Arithmetic()
    plan = replace(labelled_plan({"never": 150}), engine_batch=batch)
    with pytest.raises(DryClassError):
        run(plan, factor=1.5, engine=engine)
    assert engine.drawn == 150 * 3 * 1.5


def test_a_search_that_finds_nothing_can_be_stopped() -> None:
    engine = Arithmetic()

    def stop(_: int) -> None:
        raise JobStoppedError("The job was cancelled.")

    with pytest.raises(JobStoppedError):
        run(labelled_plan({"never": 1000}), report=stop, engine=engine)
    assert engine.drawn < 10_000


# What may be asked for


def ask(body: dict[str, Any], *specs: Any, known: tuple[ClassifierSpec, ...] | None = None) -> Plan:
    judges = (judge(),) if known is None else known
    return planned({"model": "maker"} | body, *(specs or (maker(),)), classifiers=judges)


def test_the_classifier_is_pinned_and_survives_storage() -> None:
    plan = ask({"samples_per_class": 3, "labelled_by": "judge"})
    assert plan.labelled_by is not None
    assert plan.labelled_by.sha256 == judge().sha256
    assert plan.labelled_by.min_confidence == 0
    assert plan.samples_per_class == dict.fromkeys(CLASSES, 3)
    assert Plan.from_json(plan.to_json()) == plan
    assert b'"labelled_by"' in dataset_document(plan, ["Apache-2.0"])
    assert judge().sha256.encode() in dataset_document(plan, ["Apache-2.0"])


def test_a_plan_of_before_there_were_labels_is_read() -> None:
    document = ask({"samples": 5}).to_json()
    del document["labelled_by"]
    assert Plan.from_json(document).labelled_by is None


def test_the_name_alone_means_the_newest_that_fits() -> None:
    known = (judge(version="1.9"), judge(version="1.10"), judge(version="2.0", image=image(9, 9)))
    plan = ask({"samples_per_class": 3, "labelled_by": "judge"}, known=known)
    assert plan.labelled_by is not None
    assert plan.labelled_by.version == "1.10"
    older = ask({"samples_per_class": 3, "labelled_by": "judge@1.9"}, known=known)
    assert older.labelled_by is not None
    assert older.labelled_by.version == "1.9"


def test_a_refusal_without_a_classifier_names_those_that_fit() -> None:
    with pytest.raises(UnconditionalModelError, match='"labelled_by": "judge"') as refused:
        ask({"samples_per_class": 3})
    assert refused.value.members["classifiers"] == ["judge"]
    with pytest.raises(UnconditionalModelError) as refused:
        ask({"samples_per_class": 3}, known=(judge(image=image(9, 9)),))
    assert "labelled_by" not in refused.value.detail


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        ({"labelled_by": "stranger", "samples_per_class": 3}, UnknownClassifierError, "judge@1.0"),
        ({"labelled_by": "judge@7", "samples_per_class": 3}, UnknownClassifierError, "judge@1.0"),
        ({"labelled_by": "\x1b[31m", "samples_per_class": 3}, UnknownClassifierError, "x1b"),
        ({"labelled_by": "judge", "samples": 3}, ValidationError, "samples_per_class"),
        ({"labelled_by": "judge"}, ValidationError, "samples_per_class"),
        ({"labelled_by": "judge", "samples_per_class": {"hat": 3}}, UnknownClassError, "often"),
        ({"labelled_by": "judge", "samples_per_class": 0}, ValidationError, "positive"),
        ({"labelled_by": "judge", "samples_per_class": {"often": -1}}, ValidationError, "negative"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(
    body: dict[str, Any], error: type[ValidationError], words: str
) -> None:
    with pytest.raises(error) as refused:
        ask(body)
    assert type(refused.value) is error
    assert words in refused.value.detail


def test_a_classifier_of_other_images_is_refused() -> None:
    known = (judge(image=image(9, 9)),)
    with pytest.raises(UnknownClassifierError, match="another size") as refused:
        ask({"labelled_by": "judge", "samples_per_class": 3}, known=known)
    assert refused.value.members["classifiers"] == []


def test_a_model_that_takes_a_class_is_not_labelled() -> None:
    conditional = spec("maker", ("a", "b"), image=image(SIDE, SIDE))
    with pytest.raises(ValidationError, match="by class already"):
        ask({"labelled_by": "judge", "samples_per_class": 3}, conditional)


@pytest.mark.parametrize(
    "labelled_by",
    [
        "", 7, [], {}, True, "x" * 101, {"classifier": "judge", "min_confidence": 1.1},
        {"classifier": "judge", "min_confidence": -0.1}, {"classifier": "judge", "sure": 1},
        {"classifier": "judge", "min_confidence": "0.5"}, {"min_confidence": 0.5},
        {"classifier": "judge", "min_confidence": float("nan")},
        {"classifier": "judge", "min_confidence": True},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_labeller_is_malformed(labelled_by: object) -> None:
    with pytest.raises(pydantic.ValidationError):
        JobRequest.model_validate({"model": "maker", "labelled_by": labelled_by})


# What it costs


def pilot(*labels: int, sure: float = 0.9) -> Pilot:
    count = len(labels)
    return Pilot(np.ones(count, np.bool_), np.array(labels), np.full(count, sure, np.float32))


def test_the_cost_follows_from_the_shares_of_the_pilot() -> None:
    plan = labelled_plan({"often": 30, "seldom": 20})
    cost = labelling(plan, [pilot(0, 0, 0, 1)])
    assert cost is not None
    assert cost.candidates_per_class == {"often": 40, "seldom": 80}
    assert cost.candidates == 80
    assert cost.pilot_candidates == 4
    assert "measured" in cost.basis


def test_several_models_add_up() -> None:
    models = [{"model": "maker"}, {"model": "other"}]
    body = {"models": models, "samples_per_class": {"often": 20, "seldom": 20}}
    plan = planned(body | {"labelled_by": "judge"}, maker(), maker("other"), classifiers=(judge(),))
    cost = labelling(plan, [pilot(0, 1), pilot(0, 0, 0, 1)])
    assert cost is not None
    assert cost.candidates_per_class == {"often": 34, "seldom": 60}
    assert cost.candidates == 20 + 40


@pytest.mark.parametrize("sure", [0.9, 0.2])
def test_a_class_that_the_pilot_never_met_is_told(sure: float) -> None:
    cost = labelling(labelled_plan({"often": 3, "never": 2}, 0.5), [pilot(0, 1, sure=sure)])
    assert cost is not None
    assert cost.candidates_per_class is not None
    assert cost.candidates_per_class["never"] is None
    assert cost.candidates is None
    assert "never" in cost.basis


def test_without_a_worker_it_is_not_measured() -> None:
    cost = labelling(labelled_plan({"often": 3}), None)
    assert cost is not None
    assert cost.candidates is None
    assert "not measured" in cost.basis


def test_what_is_not_labelled_costs_nothing() -> None:
    assert labelling(ask({"samples": 5}), None) is None
