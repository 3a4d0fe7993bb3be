"""The encoding that a request chooses, through plan, names and description to a checked dataset."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pydantic
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from app.api.idempotency import fingerprint_of
from app.datasets.batch import as_json, as_zip
from app.datasets.verify import verify
from app.errors import ValidationError
from app.jobs.encoding import Encoding, Jpeg, Png, Webp
from app.jobs.plan import Plan
from app.jobs.request import JobRequest
from tests.builders import image, plan_of, planned, spec
from tests.made_batches import drawn
from tests.made_datasets import Files, Make, resummed

BODY: dict[str, Any] = {"model": "maker", "samples_per_class": {"bag": 3, "coat": 2}}
ENCODINGS = [Png(), Webp(), Webp(quality=80), Jpeg(), Jpeg(quality=90)]


def members(encoding: Encoding) -> Files:
    """The files of an archive."""
    with zipfile.ZipFile(io.BytesIO(as_zip(drawn(encoding)))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ({}, Png()),
        ({"encoding": "png"}, Png()),
        ({"encoding": "webp"}, Webp()),
        ({"encoding": "jpeg"}, Jpeg(quality=95)),
        ({"encoding": {"format": "png"}}, Png()),
        ({"encoding": {"format": "webp", "quality": 80}}, Webp(quality=80)),
        ({"encoding": {"format": "jpeg", "quality": 90}}, Jpeg(quality=90)),
    ],
)
def test_a_request_chooses_by_name_or_with_options(asked: dict[str, Any], chosen: Encoding) -> None:
    plan = planned(BODY | asked)
    assert plan.encoding == chosen
    library = {"png": "libdeflate", "webp": "libwebp", "jpeg": "simplejpeg"}[chosen.format]
    assert library in plan.encoder


@pytest.mark.parametrize(
    "encoding",
    [
        "gif",
        "PNG",
        "",
        7,
        None,
        [],
        {},
        {"format": "gif"},
        {"quality": 90},
        {"format": "png", "quality": 90},
        {"format": "jpeg", "quality": 0},
        {"format": "jpeg", "quality": 101},
        {"format": "jpeg", "quality": "90"},
        {"format": "jpeg", "quality": 90.0},
        {"format": "jpeg", "quality": True},
        {"format": "jpeg", "progressive": True},
        {"format": "webp", "lossless": True},
    ],
)
def test_what_is_no_encoding_is_refused(encoding: Any) -> None:
    with pytest.raises(pydantic.ValidationError, match="encoding"):
        JobRequest.model_validate(BODY | {"encoding": encoding})


def test_jpeg_is_refused_where_the_model_makes_transparent_images() -> None:
    transparent = spec(image=image(channels=4))
    with pytest.raises(ValidationError) as refusal:
        planned(BODY | {"encoding": "jpeg"}, transparent)
    assert '"png" or "webp"' in refusal.value.detail
    assert planned(BODY | {"encoding": "webp"}, transparent).image.channels == 4


def test_a_name_and_its_long_form_are_one_request() -> None:
    short, long = (
        JobRequest.model_validate(BODY | {"encoding": encoding})
        for encoding in ("webp", {"format": "webp"})
    )
    assert fingerprint_of(short) == fingerprint_of(long)
    assert fingerprint_of(short) != fingerprint_of(JobRequest.model_validate(BODY))


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_a_stored_plan_keeps_it(encoding: Encoding) -> None:
    plan = plan_of([3, 2], 1, encoding=encoding)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_plan_of_before_there_was_a_choice_is_of_png() -> None:
    document = plan_of([3, 2], 1).to_json()
    del document["encoding"]
    assert Plan.from_json(document).encoding == Png()


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_the_dataset_is_one_that_readers_take_and_verify_calls_right(
    encoding: Encoding, make: Make
) -> None:
    files = members(encoding)
    folder = make.folder(files)
    found = verify(folder)
    assert found.problems == []
    assert found.delivered == {"class-0": 3, "class-1": 2}
    read = ImageFolder(folder)
    assert [len([t for t in read.targets if t == k]) for k in (0, 1)] == [3, 2]
    assert read[0][0].size == (12, 16)
    for name in (name for name in files if "/" in name):
        assert Path(name).suffix == f".{encoding.extension}"
        with Image.open(folder / name) as opened:
            assert opened.format == encoding.format.upper()


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_equal_plans_give_equal_archives(encoding: Encoding) -> None:
    assert as_zip(drawn(encoding)) == as_zip(drawn(encoding))


def test_the_description_names_what_is_not_png_and_its_encoder() -> None:
    assert "encoding" not in json.loads(members(Png())["dataset.json"])
    document = json.loads(members(Jpeg(quality=90))["dataset.json"])
    assert document["encoding"] == {"format": "jpeg", "quality": 90}


@pytest.mark.parametrize("encoding", [Webp(), Jpeg()], ids=repr)
@pytest.mark.parametrize("other", [Png(), Webp(), Jpeg()], ids=repr)
def test_a_file_in_disguise_is_found(encoding: Encoding, other: Encoding, make: Make) -> None:
    if encoding.format == other.format:
        return
    files = members(encoding)
    name = next(name for name in files if "/" in name)
    impostor = next(content for path, content in members(other).items() if "/" in path)
    found = verify(make.folder(resummed(files | {name: impostor})))
    assert found.problems == [
        f"{name} is not a {encoding.format.upper()} image that can be decoded."
    ]


def test_a_file_with_another_ending_is_found(make: Make) -> None:
    files = members(Jpeg())
    name = next(name for name in files if "/" in name)
    files[f"{name.removesuffix('.jpg')}.png"] = files.pop(name)
    found = verify(make.folder(resummed(files)))
    assert "is not a JPEG file in one of the classes" in found.problems[0]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_json_names_each_file_by_its_format(encoding: Encoding) -> None:
    document = json.loads(as_json(drawn(encoding)))
    assert document["encoding"] == encoding.model_dump()
    assert all(encoding.format in sample for sample in document["samples"])
