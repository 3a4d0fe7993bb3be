"""Jobs with transforms: images are those of the same job without, changed as the manifest says."""

from __future__ import annotations

import io
import json
import zipfile
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


def test_the_manifest_says_what_was_done(http: httpx.Client) -> None:
    plain = images(http, run_job(http, BODY))
    job = run_job(http, {**BODY, "transforms": TRANSFORMS})
    found, rows = images(http, job), rows_of(http, job)
    assert len(rows) == 130
    for row in rows:
        move, turn, flip = row["transforms"]
        assert turn == {"type": "rotate", "angle": 90.0}
        expected = np.rot90(moved(plain[row["file"]], move["right"], move["down"]))
        expected = expected[:, ::-1] if flip["flipped"] else expected
        np.testing.assert_array_equal(found[row["file"]], expected)
    assert len({json.dumps(row["transforms"]) for row in rows}) > 30
    content = http.get(f"{job['links']['manifest']}.parquet").content
    column = parquet.read_table(io.BytesIO(content)).column("transforms").to_pylist()
    assert [json.loads(text) for text in column] == [row["transforms"] for row in rows]


def test_a_small_batch_is_not_transformed(service: Service) -> None:
    answer = service.client.post("/v1/samples", json={**BODY, "transforms": TRANSFORMS})
    assert answer.status_code == 422
    assert "Only a job can transform" in answer.json()["detail"]


def test_unknown_options_are_refused(service: Service) -> None:
    body = {**BODY, "transforms": [{"type": "rotate", "degrees": 5, "colour": "red"}]}
    answer = service.client.post("/v1/jobs", json=body)
    assert answer.status_code == 422
    assert "/transforms/0/rotate/colour" in answer.text
