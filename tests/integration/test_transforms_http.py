"""Jobs with transforms: images are those of the same job without, changed as the manifest says."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from typing import Any

import httpx
import numpy as np
from PIL import Image
from pyarrow import parquet

from tests.harness import rows_of, run_job
from tests.service import Service

BODY: dict[str, Any] = {
    "model": "fashion-cgan",
    "samples_per_class": {"bag": 70, "sandal": 60},
    "seed": 3,
}
TRANSFORMS = [
    {"type": "translate", "fraction": 0.2},
    {"type": "rotate", "degrees": [90, 90]},
    {"type": "flip"},
]


def images(http: httpx.Client, job: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    content = http.get(job["archives"][0]["url"]).content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {
            name: np.asarray(Image.open(io.BytesIO(archive.read(name))))
            for name in archive.namelist()
            if name.endswith(".png")
        }


def moved(picture: np.ndarray[Any, Any], right: int, down: int) -> np.ndarray[Any, Any]:
    rolled = np.roll(picture, (down, right), (0, 1))
    rolled[: max(0, down)] = 0
    rolled[28 + min(0, down) :] = 0
    rolled[:, : max(0, right)] = 0
    rolled[:, 28 + min(0, right) :] = 0
    return rolled


def changed(picture: np.ndarray[Any, Any], row: dict[str, Any]) -> np.ndarray[Any, Any]:
    move, _, flip = row["transforms"]
    turned = np.rot90(moved(picture, move["right"], move["down"]))
    return turned[:, ::-1] if flip["flipped"] else turned


def test_the_manifest_says_what_was_done(http: httpx.Client) -> None:
    plain = images(http, run_job(http, BODY))
    job = run_job(http, {**BODY, "transforms": TRANSFORMS})
    found, rows = images(http, job), rows_of(http, job)
    assert len(rows) == 130
    for row in rows:
        assert row["transforms"][1] == {"type": "rotate", "angle": 90.0}
        np.testing.assert_array_equal(found[row["file"]], changed(plain[row["file"]], row))
    assert len({json.dumps(row["transforms"]) for row in rows}) > 30
    content = http.get(f"{job['links']['manifest']}.parquet").content
    column = parquet.read_table(io.BytesIO(content)).column("transforms").to_pylist()
    assert [json.loads(text) for text in column] == [row["transforms"] for row in rows]


def test_variants_of_drawn_images(http: httpx.Client) -> None:
    asked = {**BODY, "samples_per_class": {"bag": 10, "sandal": 4}, "transforms": TRANSFORMS}
    asked |= {"variants": 3, "formats": ["imagefolder", "webdataset", "parquet", "npz"]}
    estimate = http.post("/v1/jobs/estimate", json=asked).json()
    assert (estimate["samples"], estimate["drawn"]) == (14, 6)
    job, plain = run_job(http, asked), run_job(http, {**BODY, "samples_per_class": {"bag": 4, "sandal": 2}})  # noqa: E501  # fmt: skip
    assert (job["samples"], job["drawn"], job["variants"]) == (14, 6, 3)
    assert job["progress"]["samples_done"] == 14
    before = images(http, plain)
    drawn = {row["candidate"]: before[row["file"]] for row in rows_of(http, plain)}
    found, rows = images(http, job), rows_of(http, job)
    assert len(found) == 14
    for row in rows:
        np.testing.assert_array_equal(found[row["file"]], changed(drawn[row["candidate"]], row))
        assert rows[row["variant_of"] + row["variant"]] == row
        assert rows[row["variant_of"]]["candidate"] == row["candidate"]
    sizes = Counter(row["variant_of"] for row in rows)
    assert sorted(sizes.values()) == [1, 1, 3, 3, 3, 3]
    table = parquet.read_table(io.BytesIO(http.get(f"{job['links']['manifest']}.parquet").content))
    columns = zip(table["variant_of"].to_pylist(), table["variant"].to_pylist(), strict=True)
    assert list(columns) == [(row["variant_of"], row["variant"]) for row in rows]
    report = http.get(job["links"]["report"]).json()["job"]
    assert (report["samples"], report["candidates"], report["variants"]) == (14, 6, 3)
    assert report["request"]["variants"] == 3


def test_samples_at_once_are_those_of_a_job(http: httpx.Client) -> None:
    noisy = [*TRANSFORMS, {"type": "noise", "sd": [0.02, 0.1]}, {"type": "blur"}]
    # The second one is too large for the event loop: threads work it out.
    for counts, variants in (({"bag": 10, "sandal": 4}, 3), ({"bag": 200, "sandal": 60}, 1)):
        asked = {**BODY, "samples_per_class": counts, "transforms": noisy, "variants": variants}
        job = run_job(http, asked)
        archive = http.get(job["archives"][0]["url"]).content
        rows = rows_of(http, job)
        assert _at_once(http, asked, "application/zip").content == archive
        with np.load(io.BytesIO(_at_once(http, asked, "application/x-npz").content)) as arrays:
            of_job = images(http, job)
            for row in rows:
                np.testing.assert_array_equal(
                    arrays["images"][row["index"], ..., 0], of_job[row["file"]]
                )
            if variants > 1:
                assert arrays["variant_of"].tolist() == [row["variant_of"] for row in rows]
        document = _at_once(http, asked, "application/json").json()
        for told, row in zip(document["samples"], rows, strict=True):
            names = ["pixel_sha256", "transforms"]
            names += ["variant_of", "variant"] if variants > 1 else []
            assert {name: told[name] for name in names} == {name: row[name] for name in names}


def _at_once(http: httpx.Client, body: dict[str, Any], media_type: str) -> httpx.Response:
    answer = http.post("/v1/samples", json=body, headers={"Accept": media_type})
    assert answer.status_code == 200, answer.text
    return answer


def test_unknown_options_are_refused(service: Service) -> None:
    body = {**BODY, "transforms": [{"type": "rotate", "degrees": 5, "colour": "red"}]}
    answer = service.client.post("/v1/jobs", json=body)
    assert answer.status_code == 422
    assert "/transforms/0/rotate/colour" in answer.text
