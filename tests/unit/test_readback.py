"""What was written is read again before a job succeeds: whole archives pass, others are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.datasets import readback
from app.datasets.readback import read_back
from app.db.tables import Job
from app.errors import JobStoppedError, UnreadableArchiveError
from app.jobs.encoding import Encoding, Jpeg, Png, Webp
from app.jobs.request import JobRequest
from app.storage import LargeWriter, LocalStorage
from tests.builders import image, plan_of
from tests.databases import fresh_sqlite
from tests.local_worker import MODEL, LocalWorker
from tests.made_exports import Made, make

LAYOUTS = ["imagefolder", "webdataset", "parquet", "npz"]
each = pytest.mark.parametrize("layout", LAYOUTS)


def archive(made: Made, layout: str) -> bytes:
    if layout == "imagefolder":
        return made.folders(metadata=True)
    options = {} if layout == "npz" else {"shard_samples": 4}
    return made.export({"type": layout, **options})


@pytest.fixture
def made(tmp_path: Path, request: pytest.FixtureRequest) -> Made:
    encoding: Encoding = getattr(request, "param", Png())
    return make(plan_of([6, 0, 5], 3, classes=3, image=image(9, 7, 3), encoding=encoding), tmp_path)


def read(content: bytes, layout: str, made: Made, **counts: int) -> int:
    path = made.storage.path("archive")
    path.write_bytes(content)
    labels = Counter(made.labels)
    labels.update({int(label): n for label, n in counts.items()})
    return read_back(path, layout, made.plan, labels, lambda: None)


@each
@pytest.mark.parametrize("made", [Png(), Webp(), Jpeg()], ids=repr, indirect=True)
def test_a_whole_archive_is_read_and_counted(made: Made, layout: str) -> None:
    decoded = {"imagefolder": 11, "webdataset": 11, "parquet": 4, "npz": 0}  # one a row group
    assert read(archive(made, layout), layout, made) == decoded[layout]


@each
@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_an_archive_that_is_cut_short_is_refused(made: Made, layout: str, left: int) -> None:
    content = archive(made, layout)
    with pytest.raises(UnreadableArchiveError, match=f"The {layout} archive can't be read back"):
        read(content[: len(content) * left // 4], layout, made)


@each
def test_counts_other_than_the_manifests_are_refused(made: Made, layout: str) -> None:
    content = archive(made, layout)
    with pytest.raises(UnreadableArchiveError, match="'class-0' 6 times, not 7") as refusal:
        read(content, layout, made, **{"0": 1})
    assert "Check the disk" in refusal.value.detail
    with pytest.raises(UnreadableArchiveError, match="'class-1' 0 times, not 2"):
        read(content, layout, made, **{"1": 2})


@pytest.mark.parametrize("layout", ["imagefolder", "webdataset", "parquet"])
def test_an_image_that_can_not_be_decoded_is_refused(made: Made, layout: str) -> None:
    content = archive(made, layout)
    # The pixels of every image, which begin two bytes behind the type of their chunk.
    spoilt = content.replace(b"IDAT\x78", b"IDAT\x00")
    assert spoilt != content
    with pytest.raises(UnreadableArchiveError, match="can't be read back"):
        read(spoilt, layout, made)


def test_of_many_tar_files_the_first_are_read_and_the_others_counted(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readback, "MOST_TAR_SAMPLES", 5)
    content = archive(made, "webdataset")
    assert read(content, "webdataset", made) == 8  # two files of four
    with pytest.raises(UnreadableArchiveError, match="11 samples, not 12"):
        read(content, "webdataset", made, **{"0": 1})


def test_it_stops_when_told(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readback, "_LOOK_EVERY", 3)

    def stop() -> Any:
        raise JobStoppedError("The job is cancelled.")

    path = made.storage.path("archive")
    path.write_bytes(archive(made, "imagefolder"))
    with pytest.raises(JobStoppedError):
        read_back(path, "imagefolder", made.plan, Counter(made.labels), stop)


class Forgetful(LocalStorage):
    """A disk that says that it has written an archive, and has not."""

    @contextmanager
    def create_large(self, key: str) -> Iterator[LargeWriter]:
        """As of `LocalStorage`, and then the end is lost."""
        with super().create_large(key) as writer:
            yield writer
        with self.path(key).open("r+b") as file:
            file.truncate(writer.bytes - 100)


@each
def test_a_job_fails_whose_archive_was_not_kept(layout: str, tmp_path: Path) -> None:
    worker = LocalWorker(tmp_path, fresh_sqlite(tmp_path), shard_samples=3)
    try:
        worker.context.storage = Forgetful(worker.settings.objects_dir)
        asked = {"model": MODEL, "samples_per_class": {"bag": 4, "coat": 1}, "formats": [layout]}
        job = worker.ask(JobRequest.model_validate(asked))
        worker.run_shards(job)
        worker.finalize(job)
        with worker.context.transaction() as session:
            ended = session.get_one(Job, job.number)
            assert ended.state == "failed"
            assert ended.problem is not None
            assert ended.problem["type"] == "/problems/archive-unreadable"
            assert f"The {layout} archive can't be read back" in ended.problem["detail"]
        assert not [name for name in worker.files() if "/archives/" in name]
    finally:
        worker.close()
