"""Deployment settings, read from `SYNTHLOOM_*` environment variables and `.env`."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_data_path
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Precision = Literal["float32", "bfloat16"]
C2paAlgorithm = Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"]

_PREFIX = "SYNTHLOOM_"
_OF_CLIENTS = {"SYNTHLOOM_SERVER"}
"""Variables that only the command line reads."""


class Settings(BaseSettings):
    """One small class for a deployment; every field is documented under it."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        dotenv_filtering="match_prefix",
        extra="forbid",
        use_attribute_docstrings=True,
    )

    data_dir: Path = Field(default_factory=lambda: user_data_path("synthloom"))
    """Folder of everything the service keeps: database, objects, API key."""

    host: str = "127.0.0.1"
    """Address the API listens on. Anything but loopback needs keys, which are on by default."""

    port: int = Field(default=8008, ge=0, le=65535)
    """Port the API listens on; 0 takes a free one and writes it to `server.json`."""

    workers: int = Field(default=1, ge=0, le=64)
    """Worker processes that `synthloom serve` starts and supervises; 0 leaves that to you."""

    database_url: str = ""
    """SQLAlchemy URL, e.g. `postgresql+psycopg://user:password@host/name`. Empty: SQLite in
    the data folder."""

    api_key: SecretStr | None = None
    """The key clients send as `Authorization: Bearer`. Unset: `<data folder>/api-key`, written
    at the first start."""

    webhook_secret: SecretStr | None = None
    """Signs webhooks: `whsec_` and the base64 of 24 to 64 bytes; several, parted by spaces, while
    one takes the place of another. Unset: `<data folder>/webhook-secret`, written at the first
    start."""

    webhook_private_addresses: bool = False
    """Whether webhooks may go to private networks and to this machine, and over plain http."""

    webhook_attempts: int = Field(default=10, ge=1, le=100)
    """Times that a webhook is tried before it is given up."""

    webhook_backoff_seconds: float = Field(default=5.0, ge=0.01, le=3600.0)
    """Wait before the second try of a webhook; three times as long before each further one, at
    most six hours."""

    c2pa_certificate: Path | None = None
    """PEM file with the certificate that images are signed with where a job asks for it, and the
    rest of its chain behind it. The server and each worker read it when they start."""

    c2pa_key: Path | None = None
    """PEM file with the private key of that certificate, PKCS #8 without a password."""

    c2pa_algorithm: C2paAlgorithm = "es256"
    """How images are signed; what the key is for."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where generators run. `auto` takes CUDA, then MPS, then the CPU."""

    engine_batch: int = Field(default=256, ge=1, le=8192)
    """Most images in one forward pass. Batches are padded to a fixed size, because pixels are
    only promised to be reproducible at one; each job keeps the size it was submitted with."""

    precision: Precision = "float32"
    """What generators compute in; each job keeps the value it was submitted with. `bfloat16`
    took half of the time of float32 on a CPU with AVX512-BF16, and moves a pixel by a few levels
    at most."""

    batch_linger_seconds: float = Field(default=0.0, ge=0.0, le=1.0)
    """How long a batch that is not full waits for more requests of its model. What comes while
    the device is busy shares the next batch anyway, so waiting seldom helps."""

    sync_waiting_samples: int = Field(default=16_384, ge=1)
    """Samples of `POST /v1/samples` that may wait for a worker; more are answered with 429."""

    resident_bytes: int = Field(default=2_000_000_000, ge=1)
    """Tensors that a worker keeps loaded; the least recently used model leaves first."""

    cpu_streams: int = Field(default=2, ge=1, le=64)
    """Batches that run at the same time where the device is the CPU, each with an equal share of
    its cores; not more than there are cores."""

    encode_threads: int = Field(default=2, ge=1, le=64)
    """Threads of a worker that encode images beside the device."""

    shard_samples: int = Field(default=5_000, ge=1, le=50_000)
    """Samples in one shard, the unit of work, retry and storage; a shard may have a few more,
    where its share of a class is no whole number."""

    shard_window: int = Field(default=8, ge=1, le=1_000)
    """Shards of one job that are queued at a time, so that no job floods the queue."""

    shard_attempts: int = Field(default=10, ge=1, le=1_000)
    """Runs of one shard, of a comparison of shards or of the last step after which a job fails
    instead of ending yet another worker."""

    shard_concurrency: int = Field(default=2, ge=1, le=64)
    """Shards one worker runs at a time: the device serves one while the other is encoded."""

    training_threads: int = Field(default=1, ge=1, le=1024)
    """Processor threads of a training or an evaluation. Each worker runs one at a time, in a
    process of its own with low priority, so that jobs and requests go on beside it."""

    run_attempts: int = Field(default=3, ge=1, le=1_000)
    """Times that a training or an evaluation may end its process or its worker without a word,
    before it fails. It goes on from its last checkpoint each time."""

    refusal_factor: float = Field(default=10.0, ge=1.0, le=10_000.0)
    """Candidates a shard may draw for each sample it owes before its job fails as dry."""

    max_upload_bytes: int = Field(default=1 << 30, ge=1 << 10)
    """Largest checkpoint that is taken by `POST /v1/models`, in bytes."""

    max_dataset_bytes: int = Field(default=4 << 30, ge=1 << 10)
    """Largest file that is taken by `POST /v1/datasets`, in bytes."""

    max_dataset_images: int = Field(default=2_000_000, ge=1)
    """Most images of a dataset that is taken."""

    dataset_seconds: float = Field(default=600.0, ge=1.0, le=86_400.0)
    """How long an uploaded dataset may be looked through; every image of it is decoded once."""

    dataset_memory_bytes: int = Field(default=2 << 30, ge=256 << 20)
    """Memory that the process may use which looks through an uploaded dataset. Parquet takes more
    with the size of its row groups."""

    max_job_samples: int = Field(default=100_000_000, ge=1)
    """Largest job accepted, in samples."""

    rows_in_database_up_to: int = Field(default=10_000_000, ge=0)
    """Samples of a job up to which the rows of its manifest are kept in the database. The rows of
    a larger job lie in a Parquet file beside each shard, with one row a shard in the database;
    each job keeps the way it was submitted with."""

    worker_listen: str = ""
    """`host:port` where a worker answers the API when they are on different machines; port 0
    takes a free one. Empty: a Unix socket in the data folder."""

    poll_seconds: float = Field(default=0.05, ge=0.005, le=10.0)
    """How often a worker looks for queued work."""

    heartbeat_seconds: float = Field(default=2.0, ge=0.05, le=60.0)
    """How often a worker says that it is alive."""

    lease_seconds: float = Field(default=20.0, ge=0.2, le=3600.0)
    """Silence after which other workers take over a worker's shards."""

    hang_seconds: float = Field(default=60.0, ge=1.0, le=3600.0)
    """Seconds without a sign of life after which `synthloom serve` kills a worker of its own and
    starts it again. Waiting for the database or computing is no silence."""

    worker_name: str = Field(default_factory=lambda: socket.gethostname())
    """Name of this machine in worker ids; give each machine its own."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_misspelled(cls, values: dict[str, Any]) -> dict[str, Any]:
        """A misspelled variable of the environment is unknown, as one of the file is."""
        names = {name.upper() for name in os.environ} - _OF_CLIENTS
        given = {n.removeprefix(_PREFIX).lower() for n in names if n.startswith(_PREFIX)}
        return {**dict.fromkeys(given - set(cls.model_fields)), **values}

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        if not url or (scheme == "sqlite" and separator):
            return url
        if scheme not in ("postgresql+psycopg", "postgresql", "postgres") or not rest:
            raise ValueError(
                "write it like postgresql+psycopg://user:password@host/name, or leave it empty"
            )
        return f"postgresql+psycopg://{rest}"

    @property
    def sqlalchemy_url(self) -> str:
        """The database, SQLite in the data folder unless one was named."""
        return self.database_url or f"sqlite:///{self.data_dir / 'synthloom.db'}"

    @property
    def objects_dir(self) -> Path:
        """Root of the local object storage."""
        return self.data_dir / "objects"
