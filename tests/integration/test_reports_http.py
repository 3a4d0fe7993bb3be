"""Reports of jobs from a real worker: what they say is checked against the archive."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from PIL import Image

from models.checkpoint import load_classifier
from models.labelling import label
from models.zoo.catalogue import shipped_classifiers
from tests.builders import REQUEST
from tests.harness import follow, submit

Job = dict[str, Any]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def report(http: httpx.Client, finished: Job) -> Job:
    answer = http.get(finished["links"]["report"])
    assert answer.headers["content-type"] == "application/json"
    found: Job = answer.json()
    return found


def test_the_report_is_as_its_schema_says(report: Job) -> None:
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text())
    Draft202012Validator(schema).validate(report)


def test_it_says_what_was_asked_and_is_in_the_archive(
    report: Job, finished: Job, archive: bytes
) -> None:
    rows = {row["name"]: (row["asked"], row["delivered"]) for row in report["job"]["classes"]}
    assert rows == {name: (n, n) for name, n in REQUEST["samples_per_class"].items()}
    assert report["verdict"] == finished["report"]["verdict"]
    assert report["cost"]["bytes"]["archive imagefolder"] == len(archive)
    assert report["cost"]["devices"] == {"cpu": 3}
    assert report["cost"]["work_seconds"]["device"] > 0
    assert report["cost"]["work_seconds"]["encoding"] > 0


def test_label_agreement_is_that_of_the_images_in_the_archive(report: Job, archive: bytes) -> None:
    (judge,) = shipped_classifiers()
    images, meant = [], []
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        for name in files.namelist():
            if name.endswith(".png"):
                images.append(np.asarray(Image.open(io.BytesIO(files.read(name))))[..., None])
                meant.append(judge.spec.classes.index(name.split("/")[0]))
    classifier = load_classifier(judge.spec, judge.weights_path, torch.device("cpu"))
    right = label(classifier, np.stack(images)).labels == np.array(meant)
    figure = report["figures"]["label_agreement"]
    assert figure["value"] == pytest.approx(right.mean())
    assert figure["synthetic"] == 255
    assert figure["backbone"] == judge.spec.ref
    assert figure["interval"]["low"] < right.mean() < figure["interval"]["high"]


@pytest.mark.parametrize(
    ("path", "accept", "kind"),
    [
        ("", "*/*", "application/json"),
        ("", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        (".html", "application/json", "text/html; charset=utf-8"),
        (".json", "text/html", "application/json"),
    ],
)
def test_it_comes_as_html_and_as_json(
    http: httpx.Client, finished: Job, path: str, accept: str, kind: str
) -> None:
    answer = http.get(f"{finished['links']['report']}{path}", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    again = {"Accept": accept, "If-None-Match": answer.headers["etag"]}
    assert http.get(f"{finished['links']['report']}{path}", headers=again).status_code == 304


def test_what_is_not_there_is_said(http: httpx.Client, finished: Job) -> None:
    refused = http.get(finished["links"]["report"], headers={"Accept": "image/png"})
    assert refused.status_code == 406
    cancelled = submit(http, REQUEST | {"seed": 99})
    http.post(cancelled["links"]["cancel"])
    answer = http.get(cancelled["links"]["report"])
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/report-not-ready"


def test_a_gate_that_is_not_passed_fails_the_job_and_the_report_stays(http: httpx.Client) -> None:
    body = REQUEST | {"gate": {"label_agreement": 0.999, "refused": "<=0%"}}
    job = follow(http, submit(http, body)["id"]).job
    assert job["state"] == "failed"
    assert job["problem"]["type"] == "/problems/gate-failed"
    assert [c["holds"] for c in job["problem"]["gate"]["conditions"]] == [False, True]
    assert job["archives"] == []
    kept = http.get(job["links"]["report"]).json()
    assert kept["gate"] == job["report"]["gate"] == job["problem"]["gate"]
    assert http.get(f"{job['links']['report']}.html").text.count("<h1>The gate is not passed") == 1


@pytest.mark.parametrize(
    ("fields", "slug"),
    [
        ({"gate": {"beauty": 1}}, "unknown-figure"),
        ({"gate": ["kid<=0.1"]}, "validation"),
        ({"gate": ["label_agreement<=0.1"]}, "validation"),
        ({"gate": "label_agreement>=0.1"}, "validation"),
        ({"gate": {"label_agreement": True}}, "validation"),
        ({"gate": {"label_agreement": None}}, "validation"),
        ({"report": {"against": "ds_none"}}, "unknown-dataset"),
        ({"report": {"against": "ds_none", "minutes": 0}}, "validation"),
        ({"report": {}}, "validation"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/estimate"])
def test_what_can_not_be_asked_is_refused(
    http: httpx.Client, fields: Job, slug: str, path: str
) -> None:
    answer = http.post(path, json=REQUEST | fields)
    assert answer.status_code == 422
    assert answer.json()["type"] == f"/problems/{slug}"


def test_an_evaluation_that_can_not_be_made_is_a_reason_and_no_failure(http: httpx.Client) -> None:
    """Images of other classes: there is nothing that the samples can be held against."""
    made = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    file = io.BytesIO()
    np.savez(file, images=made, labels=np.arange(40) % 2, classes=np.array(["cat", "dog"]))
    sent = {"file": ("pets.npz", file.getvalue())}
    dataset = http.post("/v1/datasets", files=sent, data={"name": "pets"}).json()
    asked = {"against": "pets", "minutes": 1}
    job = submit(http, REQUEST | {"report": asked})
    assert job["report_asked"]["against"] == dataset["id"]
    assert http.delete(f"/v1/datasets/{dataset['id']}").status_code == 409
    job = follow(http, job["id"]).job
    assert job["state"] == "succeeded", job["problem"]
    report = http.get(job["links"]["report"]).json()
    assert report["evaluation"] is None
    assert "could not be held against real images" in report["evaluation_reason"]
    assert report["figures"]["kid"]["reason"] in report["evaluation_reason"]
    assert http.delete(f"/v1/datasets/{dataset['id']}").status_code == 204
