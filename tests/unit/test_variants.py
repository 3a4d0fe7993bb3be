"""Variants: exactly N images, each what torchvision makes of the image that was drawn for it."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from pydantic import TypeAdapter

from app.checks.planned import PlannedChecks, Range
from app.cli.transforms import add_transforms
from app.client_types import JobRequest
from app.datasets.manifest import Manifest, Rows, StoredRow
from app.datasets.verify import verify
from app.db.tables import Job
from app.engine.transforms import Changer, Stream, change_again
from app.errors import ValidationError
from app.jobs.pilot import Pilot, labelling
from app.jobs.plan import Plan, PlannedClassifier
from app.jobs.transforms import MOST_VARIANTS, Transform
from tests import made_corpora, made_merges
from tests.builders import image, plan_of, planned
from tests.made_exports import make, unpacked
from tests.shard_runs import SIDE, Ran, run
from tests.unit.test_transforms import by_hand

READ: TypeAdapter[Transform] = TypeAdapter(Transform)
EXACT = (
    {"type": "translate", "fraction": 0.4},
    {"type": "rotate", "degrees": 90},
    {"type": "flip"},
)
NOISY = (*EXACT, {"type": "noise", "sd": [0.1, 0.2]})
COUNTS, SHARDS = [7, 10, 1], 3


def varied(
    counts: list[int], shards: int, variants: int, transforms: Any = EXACT, **fields: Any
) -> Plan:
    read = tuple(READ.validate_python(each) for each in transforms)
    shape = image(SIDE, SIDE)
    return plan_of(counts, shards, image=shape, transforms=read, variants=variants, **fields)


def plain(plan: Plan) -> Plan:
    """The same images as they are drawn: a job of as many as this one draws, without transforms."""
    cells = tuple(replace(c, count=-(-c.count // plan.variants)) for c in plan.cells)
    return replace(plan, cells=cells, transforms=(), variants=1)


def ran(plan: Plan) -> list[Ran]:
    return [
        run(plan, shard, change=Changer(plan, shard).change if plan.transforms else None)
        for shard in range(plan.shards)
    ]


def listed(plan: Plan, shards: list[Ran]) -> list[dict[str, Any]]:
    manifest = Manifest(cast("Job", None), plan, cast("Rows", None))
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        manifest.row(StoredRow(row, shard, "", moment))
        for shard, one in enumerate(shards)
        for row in one.rows
    ]


def pictures(shards: list[Ran]) -> dict[int, Any]:
    """Index → pixels, as Pillow reads them from the PNG files."""
    return {index: picture for one in shards for index, picture in one.images.items()}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=6), st.integers(1, 9), st.integers(1, 12))
def test_n_stays_n_and_no_image_is_torn_apart(counts: list[int], shards: int, k: int) -> None:
    plan = varied(counts, shards, k)
    found: dict[int, list[int]] = defaultdict(list)
    cells: list[int] = []
    for number in range(shards):
        shard = plan.shard(number)
        assert shard.first == len(cells) == plan.start(number)
        firsts, variants = shard.variants()
        for at, (group, variant) in enumerate(zip(firsts.tolist(), variants.tolist(), strict=True)):
            assert shard.first <= group == shard.first + at - variant  # the group lies in the shard
            found[group].append(variant)
        cells += shard.cells.tolist()
    assert [cells.count(cell) for cell in range(len(counts))] == counts
    assert all(variants == list(range(len(variants))) for variants in found.values())
    for cell, count in enumerate(counts):
        sizes = sorted(len(found[group]) for group in found if cells[group] == cell)
        assert len(sizes) == -(-count // k)
        assert sizes[1:] == [k] * (len(sizes) - 1)
    assert plan.drawn == len(found)


@pytest.mark.parametrize("variants", [1, 2, 3])
def test_each_is_what_torchvision_makes_of_the_drawn_image(variants: int) -> None:
    plan = varied(COUNTS, SHARDS, variants)
    made, before = ran(plan), ran(plain(plan))
    rows, images = listed(plan, made), pictures(made)
    drawn = {
        (shard, row.candidate): one.images[row.sample]
        for shard, one in enumerate(before)
        for row in one.rows
    }
    assert sorted(images) == [row["index"] for row in rows] == list(range(18))
    assert Counter(row["class"] for row in rows) == {"class-0": 7, "class-1": 10, "class-2": 1}
    for row in rows:
        expected = drawn[row["shard"], row["candidate"]][:, :, None]
        for own in row["transforms"]:
            expected = by_hand(expected, own)
        np.testing.assert_array_equal(images[row["index"]], expected[:, :, 0])
    assert {(row["shard"], row["candidate"]) for row in rows} == set(drawn)
    assert ("variant_of" in rows[0]) == (variants > 1)
    members = defaultdict(set)
    for row in rows:
        members[row["shard"], row["candidate"]].add((row.get("variant_of"), row.get("class")))
    assert all(len(of_one) == 1 for of_one in members.values())
    assert len({row["file"] for row in rows}) == 18


def test_variants_differ_and_the_first_is_that_of_a_job_without() -> None:
    one, three = varied([40], 1, 1, NOISY), varied([120], 1, 3, NOISY)
    single, several = listed(one, ran(one)), listed(three, ran(three))
    key = ("candidate", "pixel_sha256", "transforms")
    firsts = [row for row in several if row["variant"] == 0]
    assert [[row[k] for k in key] for row in firsts] == [[row[k] for k in key] for row in single]
    assert len({json.dumps(row["transforms"]) for row in several}) == 120
    assert len({row["pixel_sha256"] for row in several}) == 120


def test_neither_batches_nor_other_shards_make_a_difference() -> None:
    plan = varied(COUNTS, SHARDS, 3, NOISY, engine_batch=64)
    rows = listed(plan, ran(plan))
    small = replace(plan, engine_batch=2)
    backwards = [
        run(small, shard, change=Changer(small, shard).change) for shard in reversed(range(SHARDS))
    ]
    assert listed(small, backwards[::-1]) == rows
    before = ran(plain(plan))
    drawn = {(s, row.candidate): one.images[row.sample] for s, one in enumerate(before) for row in one.rows}  # noqa: E501  # fmt: skip
    alone = change_again(
        plan.transforms,
        [
            Stream(plan.seed, r["model_sha256"], r["shard"], r["candidate"], r["variant"])
            for r in rows
        ],
        np.stack([drawn[row["shard"], row["candidate"]][:, :, None] for row in rows]),
    )
    images = pictures(ran(plan))
    for row, again in zip(rows, alone, strict=True):
        np.testing.assert_array_equal(images[row["index"]], again[:, :, 0])


def test_checks_see_what_was_drawn() -> None:
    checks = PlannedChecks(brightness=Range(0.2, 0.7))
    plan = varied([30, 31], 2, 3, checks=checks)
    made, before = ran(plan), ran(plain(plan))
    for ours, without in zip(made, before, strict=True):
        assert ours.run.reasons == without.run.reasons
        assert sorted({c for _, c in ours.chosen}) == sorted(c for _, c in without.chosen)
    assert sum(one.run.refused for one in made) > 0
    assert len(listed(plan, made)) == 61


@pytest.mark.parametrize("kind", ["webdataset", "parquet", "npz", "metadata"])
def test_every_export_says_which_belong_together(kind: str, tmp_path: Path) -> None:
    plan = varied(COUNTS, SHARDS, 3)
    made = make(plan, tmp_path / "objects")
    content = made.folders(metadata=True) if kind == "metadata" else made.export(kind)
    folder = unpacked(content, tmp_path / "out")
    match kind:
        case "webdataset":
            with tarfile.open(folder / "train-000000.tar") as tar:
                files = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
            found = [json.loads(files[name]) for name in sorted(files) if name.endswith(".json")]
        case "parquet":
            [file] = folder.glob("data/*.parquet")
            found = parquet.read_table(file).to_pylist()
        case "npz":
            with np.load(io.BytesIO(content)) as arrays:
                pairs = zip(arrays["variant_of"], arrays["variant"], strict=True)
                found = [{"variant_of": int(g), "variant": int(v)} for g, v in pairs]
        case _:
            lines = (folder / "metadata.jsonl").read_text().splitlines()
            found = [json.loads(line) for line in lines]
            assert '"variant_of"' in (folder / "README.md").read_text()
    manifest = Manifest(cast("Job", None), plan, cast("Rows", None))
    rows = [manifest.row(row) for row in made.rows]
    wanted = [(row["variant_of"], row["variant"]) for row in rows]
    assert [(row["variant_of"], row["variant"]) for row in found] == wanted
    document = json.loads((folder / "dataset.json").read_text())
    assert (document["samples"], document["variants"], document["drawn"]) == (18, 3, 8)


@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_a_real_image_is_a_variant_of_itself(kind: str, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(made_merges.content_of("npz", made_corpora.splits(1, ("train",))))
    plan = replace(made_merges.planned(upload), variants=3)
    archive = made_merges.merged(plan, upload, tmp_path / "objects").archive(kind)
    folder = unpacked(archive, tmp_path / "out")
    if kind == "npz":
        found = [np.load(folder / f"{name}.npy").tolist() for name in ("variant_of", "variant")]
    else:
        tables = [parquet.read_table(file) for file in sorted(folder.glob("data/*"))]
        rows = [row for table in tables for row in table.to_pylist()]
        found = [[row["variant_of"] for row in rows], [row["variant"] for row in rows]]
    drawn, none = plan.samples, -1 if kind == "npz" else None
    assert found[0][drawn:] == list(range(drawn, drawn + 15))
    assert found[1][drawn:] == [none] * 15
    assert sorted(Counter(found[0][:drawn]).values()) == [1, 3, 3]
    (tmp_path / "whole.zip").write_bytes(archive)
    assert verify(tmp_path / "whole.zip").ok


def test_a_plan_keeps_the_number_and_one_without_is_what_it_was() -> None:
    body = {"model": "maker", "samples_per_class": 10, "transforms": list(EXACT)}
    with_them = planned(body | {"variants": 4})
    assert Plan.from_json(with_them.to_json()) == with_them
    assert (with_them.samples, with_them.drawn) == (100, 30)
    assert with_them.identifier != planned(body).identifier == planned(body | {"variants": 1}).identifier  # noqa: E501  # fmt: skip
    assert "variants" not in planned(body).to_json()
    assert planned(body | {"variants": 4}, shard_samples=8).shards == 15
    assert planned(body | {"variants": 50}, shard_samples=8).shards == 10  # one image in each


def test_a_pilot_counts_the_images_that_have_to_be_drawn() -> None:
    judge = PlannedClassifier("judge", "1", "cd" * 32, 0.5)
    plan = varied([10], 1, 4, labelled_by=judge)
    pilot = Pilot(np.ones(8, np.bool_), np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.ones(8, np.float32))
    found = labelling(plan, [pilot])
    assert found is not None
    assert found.candidates_per_class == {"class-0": 6}  # three images, half of the candidates


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({}, 'give "transforms" too'),
        ({"transforms": [{"type": "rotate", "degrees": [9, 9]}]}, "all variants of an image would"),
        ({"transforms": [{"type": "flip", "probability": 1}]}, "all variants of an image would"),
        ({"transforms": [{"type": "noise", "sd": [0, 0]}]}, "all variants of an image would"),
    ],
)
def test_variants_that_would_be_equal_are_refused(more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        planned({"model": "maker", "samples_per_class": 3, "variants": 2, **more})


@pytest.mark.parametrize("variants", [0, -1, MOST_VARIANTS + 1, 1.5, "2", True])
def test_numbers_that_are_none_are_refused(variants: object) -> None:
    with pytest.raises(ValueError, match="variants"):
        planned({"model": "maker", "samples_per_class": 3, "variants": variants})


def test_on_the_command_line() -> None:
    request: JobRequest = {}
    add_transforms(request, ["noise=0.1"], 3)
    assert request == {"transforms": [{"type": "noise", "sd": [0.1, 0.1]}], "variants": 3}
    planned({"model": "maker", "samples_per_class": 3, **request})
    with pytest.raises(typer.BadParameter, match="--transform"):
        add_transforms({}, None, 2)
