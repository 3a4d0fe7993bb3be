"""Objects are stored whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import app.storage
from app.errors import MissingObjectError, StorageFullError, SynthloomError
from app.storage import PART, HashingWriter, LocalStorage


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "objects")


def put(
    storage: LocalStorage, key: str, content: bytes, error: BaseException | None = None
) -> HashingWriter:
    with storage.create(key) as writer:
        writer.write(content)
        if error is not None:
            raise error
    return writer


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=2000), max_size=10), st.integers(0, 3000), st.integers(0, 3000))
def test_what_was_written_is_read(chunks: list[bytes], offset: int, length: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        storage = LocalStorage(Path(folder))
        with storage.create("jobs/a/x") as writer:
            for chunk in chunks:
                assert writer.write(chunk) == len(chunk)
        content = b"".join(chunks)
        assert writer.bytes == len(content)
        assert writer.sha256 == hashlib.sha256(content).hexdigest()
        assert storage.read("jobs/a/x") == content
        assert storage.read("jobs/a/x", offset, length) == content[offset : offset + length]


def test_a_large_object_is_hashed_as_it_is_corrected(storage: LocalStorage) -> None:
    first, second, third = os.urandom(9 << 20), os.urandom(17 << 20), os.urandom(5)
    with storage.create_large("jobs/a/x") as writer:
        writer.write(first)
        writer.write(b"head")
        own = writer.hold(len(first))
        writer.write(second)
        writer.settle(len(first), b"HEAD")
        own.follow(writer.bytes)
        writer.write(third)
    whole = first + b"HEAD" + second + third
    assert storage.read("jobs/a/x") == whole
    assert writer.sha256 == hashlib.sha256(whole).hexdigest()
    assert own.hexdigest() == hashlib.sha256(second).hexdigest()


def test_a_failure_in_a_large_object_leaves_nothing(storage: LocalStorage) -> None:
    def fail() -> None:
        with storage.create_large("jobs/a/x") as writer:
            writer.write(bytes(20 << 20))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(storage.list("jobs")) == []


def test_a_disk_that_gets_full_behind_the_writer_is_named(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    def full_once(descriptor: int) -> None:
        told.append(descriptor)
        if len(told) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fdatasync", full_once)
    monkeypatch.setattr(app.storage, "_STEP_BYTES", 1)
    monkeypatch.setattr(app.storage, "_SYNC_BYTES", 1)

    def write() -> None:
        with storage.create_large("a/x") as writer:
            for _ in range(1_000):
                writer.write(b"more")

    with pytest.raises(StorageFullError):
        write()
    assert list(storage.list("")) == []


def test_an_object_is_not_there_before_it_is_whole(storage: LocalStorage) -> None:
    with storage.create("jobs/a/x") as writer:
        writer.write(b"half")
        assert not storage.path("jobs/a/x").exists()
        assert [key.endswith(PART) for key in storage.list("jobs")] == [True]
    assert list(storage.list("jobs")) == ["jobs/a/x"]


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), SystemExit()])
def test_a_failure_leaves_nothing(storage: LocalStorage, error: BaseException) -> None:
    with pytest.raises(type(error)):
        put(storage, "jobs/a/x", b"half", error)
    assert list(storage.list("jobs")) == []


def test_a_failure_leaves_the_older_object(storage: LocalStorage) -> None:
    put(storage, "a/x", b"old")
    with pytest.raises(RuntimeError):
        put(storage, "a/x", b"new", RuntimeError())
    assert storage.read("a/x") == b"old"


def test_a_killed_process_leaves_only_a_part(storage: LocalStorage, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from app.storage import LocalStorage\n"
        "with LocalStorage(Path(sys.argv[1])).create('jobs/a/x') as writer:\n"
        "    writer.write(b'half' * 1_000_000); os.kill(os.getpid(), signal.SIGKILL)"
    )
    run = subprocess.run([sys.executable, "-c", program, tmp_path / "objects"], check=False)
    assert run.returncode == -9
    keys = list(storage.list("jobs"))
    assert len(keys) == 1
    assert keys[0].startswith("jobs/a/x.")
    assert keys[0].endswith(PART)
    put(storage, "jobs/a/x", b"whole")
    assert storage.read("jobs/a/x") == b"whole"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_named(
    storage: LocalStorage, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFullError, match="Free some space"):
        put(storage, "a/x", b"content")
    assert list(storage.list("")) == []


def test_another_failure_of_the_disk_is_ours_too(storage: LocalStorage) -> None:
    storage.path("").mkdir(parents=True)
    storage.path("a").write_text("a file where a folder should be")
    with pytest.raises(SynthloomError, match="could not be written"):
        put(storage, "a/x", b"content")


def test_absent_objects_are_named(storage: LocalStorage) -> None:
    with pytest.raises(MissingObjectError, match="gone"):
        storage.read("jobs/none")


def test_delete_takes_the_folders_it_empties(storage: LocalStorage, tmp_path: Path) -> None:
    put(storage, "jobs/a/shards/1", b"1")
    put(storage, "jobs/a/shards/2", b"2")
    put(storage, "jobs/b/shards/1", b"3")
    storage.delete("jobs/a/shards/1")
    assert sorted(storage.list("jobs")) == ["jobs/a/shards/2", "jobs/b/shards/1"]
    storage.delete("jobs/a/shards/2")
    assert files(tmp_path / "objects") == ["jobs", "jobs/b", "jobs/b/shards", "jobs/b/shards/1"]
    storage.delete("jobs/b/shards/1")
    assert files(tmp_path / "objects") == []
    storage.delete("jobs/b/shards/1")
    assert storage.path("").is_dir()


def test_list_keeps_to_its_folder(storage: LocalStorage) -> None:
    for key in ("jobs/a/1", "jobs/ab/1", "models/m"):
        put(storage, key, b"")
    assert list(storage.list("jobs/a")) == ["jobs/a/1"]
    assert sorted(storage.list("")) == ["jobs/a/1", "jobs/ab/1", "models/m"]
    assert list(storage.list("absent")) == []


def test_room_is_known_before_anything_is_stored(storage: LocalStorage) -> None:
    assert storage.free_bytes() > 0
