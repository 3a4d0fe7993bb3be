"""Samples as one Parquet file, in the layout in which the Hugging Face Hub keeps image datasets.

An image is a struct of `bytes` and `path`, a label is an integer, and the schema's `huggingface`
metadata names the classes, so that `datasets.load_dataset("parquet", …)` decodes both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from app.datasets.manifest import Layout, SampleRow
from app.jobs.plan import Plan

if TYPE_CHECKING:
    import pyarrow

ROWS_A_GROUP = 100
"""Who reads one row reads the images of its group."""

_VALUES = {"index": "int64", "class": "string", "candidate": "int64", "pixel_sha256": "string"}


def parquet_file(plan: Plan, samples: Iterable[tuple[SampleRow, bytes]]) -> bytes:
    """One row for each sample and its image file: equal samples, equal bytes.

    Columns: `image` struct of bytes (binary) and path (its name in the archive), `label` int64,
    and what `_VALUES` lists; `pixel_sha256` is hexadecimal, and of the pixels before encoding.
    """
    # Imported when it is needed: it is large, and the API starts without it.
    import pyarrow
    from pyarrow import parquet

    sink = pyarrow.BufferOutputStream()
    parquet.write_table(
        pyarrow.Table.from_pylist(list(_rows(plan, samples)), schema=_schema(plan.classes)),
        sink,
        row_group_size=ROWS_A_GROUP,
        compression={
            "image.bytes": "NONE",  # compressed already
            **dict.fromkeys(("image.path", "label", *_VALUES), "ZSTD"),
        },
        use_dictionary=["class"],
    )
    return bytes(sink.getvalue())


def _schema(classes: Iterable[str]) -> pyarrow.Schema:
    import pyarrow

    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": list(classes), "_type": "ClassLabel"},
        **{name: {"dtype": dtype, "_type": "Value"} for name, dtype in _VALUES.items()},
    }
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    columns = [("image", image), ("label", "int64"), *_VALUES.items()]
    metadata = {"huggingface": json.dumps({"info": {"features": features}}, ensure_ascii=False)}
    return pyarrow.schema(columns, metadata)


def _rows(plan: Plan, samples: Iterable[tuple[SampleRow, bytes]]) -> Iterable[dict[str, Any]]:
    layout = Layout(plan)
    for row, content in samples:
        label = plan.cells[row.cell].label
        yield {
            "image": {"bytes": content, "path": layout.file_name(row.sample, row.cell)},
            "label": label,
            "index": row.sample,
            "class": plan.classes[label],
            "candidate": row.candidate,
            "pixel_sha256": row.pixel_sha256.hex(),
        }
