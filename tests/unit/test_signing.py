"""Signed images, read back by the C2PA library itself; what can't be signed with is found first."""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest

from app.datasets.decoding import decode
from app.datasets.encoders import encoder_of
from app.datasets.marks import SOURCE_TYPE, packets
from app.datasets.png import decode_batch
from app.datasets.signing import BYTES, SAMPLE, Signing, signing_of
from app.db.tables import Job
from app.errors import ConfigurationError
from app.jobs.encoding import Encoding, Jpeg, Png, Webp
from app.jobs.plan import Plan
from app.jobs.request import JobRequest
from app.main import create_app
from app.settings import Settings
from tests.builders import image, planned
from tests.certificates import Chain, chain
from tests.databases import fresh_sqlite
from tests.local_worker import MODEL, LocalWorker

ENCODINGS = [Png(), Webp(), Jpeg()]
BODY: dict[str, Any] = {"model": MODEL, "samples_per_class": {"bag": 3, "coat": 2}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return chain(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def signing(made: Chain) -> Signing:
    return Signing(made.certificate, made.key, "es256")


def read(file: bytes, media_type: str, root: str) -> tuple[str, dict[str, Any]]:
    """What a reader that trusts the authority says: state, and the manifest."""
    trust = {"verify": {"verify_trust": True}, "trust": {"user_anchors": root}}
    context = c2pa.Context(settings=c2pa.Settings.from_dict(trust))
    with c2pa.Reader(media_type, io.BytesIO(file), context=context) as reader:
        return str(reader.get_validation_state()), dict(reader.get_active_manifest() or {})


def assertions(manifest: dict[str, Any]) -> dict[str, Any]:
    return {each["label"]: each["data"] for each in manifest["assertions"]}


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_a_signed_image_is_trusted_and_a_tampered_one_is_not(
    encoding: Encoding, made: Chain, signing: Signing
) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (1, 9, 7, 3), np.uint8)
    [plain] = encoder_of(encoding)(pixels, packets("ab" * 16, [5]))
    file = signing.sign(plain, encoding.media_type, {"sample": "synthloom:x/5", "seed": 7})
    state, manifest = read(file, encoding.media_type, made.root)
    assert state == "Trusted"
    found = assertions(manifest)
    assert found["c2pa.actions.v2"]["actions"] == [
        {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
    ]
    assert found[SAMPLE] == {"sample": "synthloom:x/5", "seed": 7}
    assert len(file) - len(plain) < BYTES
    size = image(9, 7, 3)
    assert np.array_equal(decode(file, encoding, size), decode(plain, encoding, size))
    tampered = file.replace(b"synthloom:" + b"ab" * 16, b"synthloom:" + b"ac" * 16)
    assert tampered != file
    assert read(tampered, encoding.media_type, made.root)[0] == "Invalid"


def test_signed_pngs_are_decoded_a_batch_at_a_time(signing: Signing) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (2, 9, 7, 3), np.uint8)
    files = [signing.sign(f, "image/png", {"sample": "x"}) for f in encoder_of(Png())(pixels)]
    found = decode_batch(files, (9, 7, 3))
    assert found is not None
    assert np.array_equal(found, pixels)


def test_every_image_of_a_job_names_its_sample(tmp_path: Path, made: Chain) -> None:
    worker = LocalWorker(tmp_path, fresh_sqlite(tmp_path))
    try:
        worker.context.signing = Signing(made.certificate, made.key, "es256")
        job = worker.ask(JobRequest.model_validate(BODY | {"c2pa": True}))
        worker.run_shards(job)
        worker.finalize(job)
        with worker.context.transaction() as session:
            ended = session.get_one(Job, job.number)
            assert ended.state == "succeeded", ended.problem
        [key] = [key for key in worker.files() if "/archives/" in key]
        plan = Plan.from_json(job.plan)
        with zipfile.ZipFile(worker.storage.path(key)) as opened:
            names = [name for name in opened.namelist() if name.endswith(".png")]
            assert len(names) == 5
            for name in names:
                state, manifest = read(opened.read(name), "image/png", made.root)
                facts = assertions(manifest)[SAMPLE]
                index = int(name.rpartition("/")[2].removesuffix(".png"))
                assert state == "Trusted"
                assert facts["sample"] == f"synthloom:{plan.identifier}/{index:012d}"
                assert facts["class"] == name.partition("/")[0]
                assert facts["model_sha256"] == plan.models[0].sha256
                assert facts["seed"] == plan.seed
            sums = opened.read("SHA256SUMS").decode()
            assert f"{hashlib.sha256(opened.read(names[0])).hexdigest()}  {names[0]}" in sums
        secret = made.key.read_bytes().splitlines()[1]
        for file in tmp_path.rglob("*"):
            assert not file.is_file() or secret not in file.read_bytes()
    finally:
        worker.close()


def test_a_worker_without_a_certificate_fails_the_job_and_says_so(tmp_path: Path) -> None:
    worker = LocalWorker(tmp_path, fresh_sqlite(tmp_path))
    try:
        job = worker.ask(JobRequest.model_validate(BODY | {"c2pa": True}))
        worker.run_shards(job)
        with worker.context.transaction() as session:
            problem = session.get_one(Job, job.number).problem
        assert problem is not None
        assert problem["type"] == "/problems/signing-failed"
        assert "SYNTHLOOM_C2PA_CERTIFICATE" in problem["detail"]
    finally:
        worker.close()


def test_only_plans_that_are_signed_say_so() -> None:
    plain, signed = (
        planned(BODY | {"model": "maker"}),
        planned(BODY | {"model": "maker", "c2pa": True}),
    )
    assert "c2pa" not in plain.to_json()
    assert Plan.from_json(signed.to_json()) == signed
    assert plain.identifier != signed.identifier


def other_key(made: Chain, folder: Path) -> Chain:
    return Chain(made.certificate, chain(folder, "other").key, "")


def expired(_: Chain, folder: Path) -> Chain:
    return chain(folder, "expired", timedelta(days=-1))


def no_key(made: Chain, folder: Path) -> Chain:
    (folder / "empty").write_text("nothing")
    return Chain(made.certificate, folder / "empty", "")


def absent(made: Chain, folder: Path) -> Chain:
    return Chain(folder / "absent", made.key, "")


@pytest.mark.parametrize("wrong", [other_key, expired, no_key, absent])
def test_what_nothing_can_be_signed_with_is_found_at_start(
    wrong: Callable[[Chain, Path], Chain], made: Chain, tmp_path: Path
) -> None:
    given = wrong(made, tmp_path)
    settings = Settings(
        c2pa_certificate=given.certificate, c2pa_key=given.key, data_dir=tmp_path, _env_file=None
    )
    with pytest.raises(ConfigurationError, match="C2PA"):
        create_app(settings)


def test_the_extra_is_named_where_it_is_missing(
    made: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(ConfigurationError, match=r"synthloom\[c2pa\]"):
        signing_of(made.certificate, made.key, "es256")


def test_certificate_and_key_belong_together(made: Chain) -> None:
    assert signing_of(None, None, "es256") is None
    with pytest.raises(ConfigurationError, match="belong together"):
        signing_of(made.certificate, None, "es256")
