"""What a job's sampling does to its plan, its latents and what is recorded; and what is refused."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import pydantic
import pytest
from numpy.typing import NDArray

from app.datasets.document import dataset_document
from app.datasets.exports.card import dataset_card
from app.datasets.zip_writer import ZipWriter
from app.errors import ValidationError
from app.jobs.drawing import AtOnce
from app.jobs.plan import Plan
from app.jobs.sampling import Sampling
from app.jobs.shard import ShardRun
from models.latents import normal
from models.registry import ARCHITECTURES, IMPORTED
from models.spec import MAPPING
from models.truncation import Truncation
from tests.builders import planned, spec

BODY = {"model": "maker", "samples_per_class": {"bag": 40, "coat": 3}}
MAPPED = spec("mapped", architecture="stylegan2")


class Remembers:
    """An engine that keeps what it is asked for; its images are black."""

    def __init__(self) -> None:
        self.z: list[NDArray[np.float32]] = []
        self.finite = np.ones(0, np.bool_)
        self.pixels = np.zeros((0, 28, 28, 1), np.uint8)

    def latent_size(self, model: str) -> int:
        return 8

    def generate(self, model: str, z: Any, labels: Any, batch: int) -> Remembers:
        self.z.append(z)
        made = Remembers()
        made.pixels = np.zeros((len(z), 28, 28, 1), np.uint8)
        made.finite = np.ones(len(z), np.bool_)
        return made


def latents_of(plan: Plan) -> NDArray[np.float32]:
    engine = Remembers()
    with ThreadPoolExecutor(1) as pool:
        run = ShardRun(
            plan=plan,
            shard=plan.shard(0),
            engine=AtOnce(engine),
            encoders=pool,
            report=lambda _: None,
            refusal_factor=10.0,
        )
        members = ZipWriter(BytesIO())
        run.write(members)
        members.close()
    return np.concatenate(engine.z)


@pytest.mark.parametrize("neutral", [None, {}, {"temperature": 1}])
def test_a_plan_without_sampling_is_what_it_was(neutral: dict[str, Any] | None) -> None:
    plan = planned(BODY | {"sampling": neutral})
    assert plan == planned(BODY)
    assert "sampling" not in plan.to_json()
    assert b"sampling" not in dataset_document(plan, ["MIT"])
    assert "Sampling" not in dataset_card(plan, ["MIT"], {})


def test_sampling_is_part_of_the_plan_and_recorded() -> None:
    asked = {"truncation": 0.8, "temperature": 0.5}
    plan = planned(BODY | {"sampling": asked})
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.sampling == Sampling(**asked)
    assert json.loads(dataset_document(plan, ["MIT"]))["sampling"] == asked
    assert "Sampling: truncation 0.8, temperature 0.5." in dataset_card(plan, ["MIT"], {})


def test_the_engine_is_asked_for_truncated_and_scaled_latents() -> None:
    plan = planned(BODY | {"sampling": {"truncation": 0.8, "temperature": 2.0}})
    model = plan.models[0].sha256
    standard = normal(seed=plan.seed, model=model, shard=0, first=0, count=43, size=8)
    assert np.array_equal(latents_of(planned(BODY)), standard)
    assert np.array_equal(latents_of(plan), 2 * Truncation(0.8)(standard))
    assert 1.5 < np.abs(latents_of(plan)).max() <= 1.6


@pytest.mark.parametrize(
    "asked",
    [
        {"truncation": 0},
        {"truncation": 5.1},
        {"truncation": "0.8"},
        {"truncation": True},
        {"psi": -0.1},
        {"psi": 2.1},
        {"temperature": 0},
        {"temperature": float("nan")},
        {"temperatur": 1},
        0.8,
    ],
)
def test_what_is_no_sampling_is_refused(asked: Any) -> None:
    with pytest.raises(pydantic.ValidationError):
        planned(BODY | {"sampling": asked})


def test_psi_needs_a_mapping_network() -> None:
    assert planned(BODY | {"model": "mapped", "sampling": {"psi": 0}}, MAPPED).sampling
    with pytest.raises(ValidationError, match=r"maker@1\.0 has no mapping network.*truncation"):
        planned(BODY | {"sampling": {"psi": 0.7}})
    both = {"models": [{"model": "mapped"}, {"model": "maker"}], "samples_per_class": 2}
    with pytest.raises(ValidationError, match=r"^maker@1\.0 has"):
        planned(both | {"sampling": {"psi": 0.7}}, MAPPED, spec())


def test_a_temperature_that_would_change_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="psi"):
        planned(BODY | {"model": "mapped", "sampling": {"temperature": 0.7}}, MAPPED)


def test_specs_know_which_generators_map_latents() -> None:
    made = {**ARCHITECTURES, **IMPORTED}
    mapping = {name for name, row in made.items() if row.generator and row.generator.maps_latents}
    assert mapping == MAPPING
