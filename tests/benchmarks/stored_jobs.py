"""Jobs whose samples are all stored, made without a generator: what only reads them needs no more.

Database, rows, shard files, marks and hashes are as a worker leaves them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.bootstrap import prepare
from app.datasets import marks
from app.datasets.encoders import encoder_names, encoder_of
from app.datasets.manifest import Layout, SampleRow, as_records
from app.datasets.zip_writer import ZipWriter
from app.db.session import create_engine, transaction
from app.db.tables import DEFAULT_TENANT, Job
from app.jobs import lifecycle
from app.jobs.dispatch import Dispatcher
from app.jobs.lease import Lease
from app.settings import Settings
from app.storage import LocalStorage
from tests.benchmarks.parts import natural
from tests.builders import TEN, image, planned, spec

FORMATS = ("imagefolder", "webdataset", "parquet", "npz")


def stored_job(data_dir: Path, samples: int, side: int, channels: int) -> Job:
    """A job in a data folder of its own, in state `finalizing`.

    The pictures are few; the marks make all files different.
    """
    settings = Settings(data_dir=data_dir, _env_file=None)
    prepare(settings)
    database, storage = create_engine(settings.sqlalchemy_url), LocalStorage(settings.objects_dir)
    dispatcher = Dispatcher(database)
    size = image(side, side, channels)
    plan = planned(
        {"model": "maker", "samples_per_class": samples // len(TEN), "formats": list(FORMATS)},
        spec(image=size),
        shard_samples=settings.shard_samples,
        engine_batch=settings.engine_batch,
        encoders=encoder_names(),
    )
    with transaction(database) as session:
        job = lifecycle.submit(
            session,
            dispatcher,
            tenant_id=DEFAULT_TENANT,
            plan=plan,
            formats=list(FORMATS),
            window=plan.shards,
            fingerprint="",
            idempotency_key=None,
        )
    pictures = natural((side, side, channels))
    for shard in range(plan.shards):
        with transaction(database) as session:
            lease = lifecycle.begin_shard(session, job.number, shard, "bench", most_attempts=1)
        assert lease is not None
        made = _stored(storage, lease, pictures)
        with transaction(database) as session:
            assert lifecycle.commit_shard(session, dispatcher, lease, made)
    dispatcher.close()
    database.dispose()
    return job


def _stored(
    storage: LocalStorage, lease: Lease, pictures: NDArray[np.uint8]
) -> lifecycle.StoredShard:
    plan = lease.plan
    shard, layout = plan.shard(lease.shard), Layout(plan)
    indices = range(shard.first, shard.first + shard.size)
    pixels = pictures[np.arange(shard.size) % len(pictures)]
    packets = marks.packets(plan.identifier, indices) if plan.marks else None
    files = encoder_of(plan.encoding)(pixels, packets)
    cells = [int(cell) for cell in shard.cells]
    with storage.create(lease.object_key) as writer:
        archive = ZipWriter(writer)
        names = [layout.file_name(index, cell) for index, cell in zip(indices, cells, strict=True)]
        starts = archive.add_all(names, files).tolist()
        archive.close()
    rows = [
        SampleRow(index, cell, k, starts[k], len(file), _sha256(file), _sha256(pixels[k].tobytes()))
        for k, (index, cell, file) in enumerate(zip(indices, cells, files, strict=True))
    ]
    return lifecycle.StoredShard(
        as_records(rows), writer.bytes, writer.sha256, 0, 1.0, {"device": "none"}, {}
    )


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
