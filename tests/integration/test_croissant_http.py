"""The Croissant document of a job over HTTP: when there is one, and its files are the job's."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from app.jobs.request import JobRequest
from tests.local_worker import MODEL, LocalWorker
from tests.service import Service

ASKED: dict[str, Any] = {
    "model": MODEL,
    "samples_per_class": {"bag": 3, "coat": 2},
    "formats": [{"type": "imagefolder", "metadata": True}, "parquet", "webdataset"],
}


@pytest.fixture
def worker(service: Service) -> Any:
    where = service.settings
    worker = LocalWorker(where.data_dir, where.database_url, shard_samples=2)
    yield worker
    worker.close()


def test_a_job_that_has_succeeded_is_described(service: Service, worker: LocalWorker) -> None:
    job = worker.ask(JobRequest.model_validate(ASKED))
    early = service.client.get(f"/v1/jobs/{job.id}/croissant.json")
    assert early.status_code == 409
    assert early.json()["type"] == "/problems/archive-not-ready"
    worker.run_shards(job)
    worker.finalize(job)
    view = service.client.get(f"/v1/jobs/{job.id}").json()
    assert view["state"] == "succeeded", view["problem"]
    assert view["formats"] == ["imagefolder", "parquet", "webdataset"]
    assert view["format_options"] == {"imagefolder": {"metadata": True}}
    answer = service.client.get(view["links"]["croissant"])
    assert answer.headers["content-type"] == "application/ld+json"
    document = answer.json()
    assert document["identifier"] == f"synthloom:{view['dataset_identifier']}"
    assert document["prov:wasGeneratedBy"]["prov:endedAtTime"][:19] == view["finished"][:19]
    assert document["license"] == ["https://spdx.org/licenses/Apache-2.0"]
    assert any("label_agreement" in line for line in document["rai:dataBiases"]) or (
        len(document["rai:dataLimitations"]) > 1
    )
    (part,) = [file for file in document["distribution"] if file["@id"].endswith(".parquet")]
    assert part["contentUrl"] == "data/train-00000-of-00001.parquet"
    files = [file for file in document["distribution"] if "sha256" in file]
    assert len(files) == 3
    for file in files:
        content = service.client.get(file["contentUrl"]).content
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
