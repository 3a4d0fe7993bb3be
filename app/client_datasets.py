"""Real datasets, from the client's side: a part of `Client`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import httpx

from app.client_answers import A, parsed, segment
from app.client_types import Dataset, DatasetList

ROUTE = "/v1/datasets"


class DatasetCalls(ABC):
    """What can be asked about datasets; how requests are sent is up to the client."""

    @abstractmethod
    def _send(self, method: str, path: str, **options: Any) -> httpx.Response: ...

    @abstractmethod
    def _upload(
        self, kind: type[A], route: str, path: Path, fields: dict[str, str], part: str
    ) -> A: ...

    def upload_dataset(self, path: Path, **fields: str) -> Dataset:
        """Brings real images in one file; the same content again is the dataset that is there.

        fields: `name`, and if wanted `licence` and `attribution`.
        """
        return self._upload(Dataset, ROUTE, path, fields, "file")

    def datasets(self) -> list[Dataset]:
        """Every dataset, the oldest first."""
        return parsed(DatasetList, self._send("GET", ROUTE)).datasets

    def dataset(self, ref: str) -> Dataset:
        """One dataset, by its id or name."""
        return parsed(Dataset, self._send("GET", f"{ROUTE}/{segment(ref)}"))

    def dataset_preview(self, ref: str) -> bytes:
        """A PNG contact sheet of the dataset, one class a row."""
        return self._send("GET", f"{ROUTE}/{segment(ref)}/preview.png").content

    def delete_dataset(self, ref: str) -> None:
        """Deletes a dataset and its file.

        Raises `ConflictError` while something that has not ended needs it.
        """
        self._send("DELETE", f"{ROUTE}/{segment(ref)}")
