"""The same task for a dataset with Parquet in it, whose library has to be there beforehand."""

from __future__ import annotations

import pyarrow.parquet  # noqa: F401 - no file can be opened any more when it is needed

from models.corpus.task import run

__all__ = ["run"]
