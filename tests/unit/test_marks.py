"""The mark in image files, read by Pillow and an XML parser: synthetic, and which sample."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from app.datasets import marks
from app.datasets.decoding import decode
from app.datasets.encoders import encoder_of
from app.datasets.verify import verify
from app.jobs.encoding import Encoding, Jpeg, Png, Webp
from app.jobs.plan import Plan
from tests.builders import image, plan_of, planned
from tests.image_readers import READERS, Pixels, batches, with_pillow
from tests.made_exports import make, unpacked

DATASET = "0123456789abcdef" * 2
EXPECTED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
IDENTIFIER = "{http://purl.org/dc/elements/1.1/}identifier"
DESCRIPTION = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
ENCODINGS = [Png(), Webp(), Webp(quality=80), Jpeg(), Jpeg(quality=30)]
EXPORTS = ["webdataset", "parquet"]

each = pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


def read_mark(file: bytes) -> tuple[str, str]:
    """The source type and the identifier, where the format's own reader finds XMP."""
    with Image.open(io.BytesIO(file)) as opened:
        opened.load()
        packet = opened.info["xmp"]
    description = ElementTree.fromstring(packet).find(f".//{DESCRIPTION}")
    assert description is not None
    return description.attrib[IPTC], description.attrib[IDENTIFIER]


def marked(encoding: Encoding, pixels: Pixels, first: int = 0) -> list[bytes]:
    packets = marks.packets(DATASET, range(first, first + len(pixels)))
    return encoder_of(encoding)(pixels, packets)


@each
@settings(deadline=None, derandomize=True, max_examples=15)
@given(pixels=batches())
def test_pixels_are_those_without_a_mark(encoding: Encoding, pixels: Pixels) -> None:
    if pixels.shape[3] not in encoding.modes:
        return
    bare = encoder_of(encoding)(pixels)
    for plain, file in zip(bare, marked(encoding, pixels), strict=True):
        assert 0 < len(file) - len(plain) < marks.BYTES
        for read in READERS:
            assert np.array_equal(read(file), read(plain))
        decode(file, encoding, image(*pixels.shape[1:]))


@each
def test_readers_find_what_made_it_and_which_sample_it_is(encoding: Encoding) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 9, 7, 3), np.uint8)
    for index, file in enumerate(marked(encoding, pixels, first=41), start=41):
        assert read_mark(file) == (EXPECTED, f"synthloom:{DATASET}/{index:012d}")


def test_a_png_chunk_is_whole_and_stands_before_the_pixels() -> None:
    file = marked(Png(), np.zeros((1, 5, 7, 3), np.uint8))[0]
    at, names = 8, []
    while at < len(file):
        length = int.from_bytes(file[at : at + 4], "big")
        chunk = file[at + 4 : at + 8 + length]
        assert int.from_bytes(file[at + 8 + length : at + 12 + length], "big") == zlib.crc32(chunk)
        names.append(chunk[:4])
        at += 12 + length
    assert names == [b"IHDR", b"iTXt", b"IDAT", b"IEND"]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_transparency_survives_the_extended_form_of_webp(channels: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (1, 6, 5, channels), np.uint8)
    file = marked(Webp(), pixels)[0]
    assert file[12:16] == b"VP8X"
    assert np.array_equal(with_pillow(file)[..., :channels], pixels[0])


# Which plans have marks, and what names a dataset


def test_new_plans_are_marked_unless_a_request_says_no() -> None:
    body: dict[str, Any] = {"model": "maker", "samples_per_class": {"bag": 3}}
    assert planned(body).marks == 1
    assert planned(body | {"marked": False}).marks == 0


def test_a_plan_of_before_there_were_marks_has_none() -> None:
    document = replace(plan_of([3, 2], 1), marks=1).to_json()
    assert Plan.from_json(json.loads(json.dumps(document))).marks == 1
    del document["marks"]
    assert Plan.from_json(document).marks == 0


def test_the_identifier_follows_from_the_plan_alone() -> None:
    plan = plan_of([3, 2], 1, marks=1, encoder="e/1")
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    stated = (
        '{"cells":[{"condition":0,"count":3,"label":0,"model":0},'
        '{"condition":1,"count":2,"label":1,"model":0}],"classes":["class-0","class-1"],'
        '"encoder":"e/1","image":{"channels":1,"height":28,"width":28},'
        '"marks":1,"models":[{"name":"maker","sha256":"' + "ab" * 32 + '","version":"1.0",'
        '"weight":1.0}],"seed":7,"shards":1}'
    )
    expected = hashlib.sha256(stated.encode()).hexdigest()[:32]
    assert again.identifier == plan.identifier == expected
    others = [
        replace(plan, seed=8),
        replace(plan, classes=("a", "b")),
        replace(plan, encoding=Webp()),
        replace(plan, precision="bfloat16"),
        replace(plan, real_samples_per_class={"class-0": 1}),
    ]
    assert len({plan.identifier, *(other.identifier for other in others)}) == 6


# What verification says


@each
def test_verification_misses_a_mark(encoding: Encoding, tmp_path: Path) -> None:
    made = make(plan_of([3, 2], 1, image=image(9, 7), encoding=encoding, marks=1), tmp_path / "a")
    for export in EXPORTS:
        folder = unpacked(made.export(export), tmp_path / export)
        assert verify(folder).problems == []
        document = json.loads((folder / "dataset.json").read_text())
        assert document["identifier"] == made.plan.identifier
        other = (folder / "dataset.json").read_text().replace(made.plan.identifier, DATASET)
        (folder / "dataset.json").write_text(other)
        assert any("lacks its mark" in problem for problem in verify(folder).problems)
