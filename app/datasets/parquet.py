"""Samples as Parquet, in the layout in which the Hugging Face Hub keeps image datasets.

An image is a struct of `bytes` and `path`, a label is an integer, and the schema's `huggingface`
metadata names the classes, so that `datasets.load_dataset("parquet", …)` decodes both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from app.datasets.lines import Choices, Text, hexadecimal
from app.datasets.manifest import Layout, Records
from app.datasets.variants import TYPES as VARIANTS
from app.datasets.variants import Variants
from app.jobs.merge import SYNTHETIC, TRAIN
from app.jobs.plan import Plan

if TYPE_CHECKING:
    import pyarrow

ROWS_A_GROUP = 100
"""Of a small batch: who reads one row reads the images of its group."""

COLUMNS = {
    "index": "int64",
    "class": "string",
    "model": "string",
    "seed": "int64",
    "candidate": "int64",
    "pixel_sha256": "string",
}
"""Beside `image` and `label`, and their types, which are those of the Hub's features too."""


def columns_of(plan: Plan) -> dict[str, str]:
    """`COLUMNS`, `variant_of` and `variant` where a drawn image is several samples, and `origin`
    and `split` where real images are among them."""
    variants = VARIANTS if plan.variants > 1 else {}
    return COLUMNS | variants | ({"origin": "string", "split": "string"} if plan.merge else {})


def parquet_file(plan: Plan, rows: Records, files: Sequence[bytes]) -> bytes:
    """One file of a small batch: equal samples, equal bytes. Columns as of `table`."""
    # Imported when it is needed: it is large, and the API starts without it.
    import pyarrow
    from pyarrow import parquet

    sink = pyarrow.BufferOutputStream()
    parquet.write_table(
        table(plan, rows, files, schema(plan)), sink, row_group_size=ROWS_A_GROUP, **writing()
    )
    return bytes(sink.getvalue())


def schema(plan: Plan) -> pyarrow.Schema:
    """`image` struct of bytes (binary) and path (string), `label` int64, then `columns_of`."""
    import pyarrow

    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": list(plan.classes), "_type": "ClassLabel"},
        **{name: {"dtype": dtype, "_type": "Value"} for name, dtype in columns_of(plan).items()},
    }
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    columns = [("image", image), ("label", "int64"), *columns_of(plan).items()]
    metadata = {"huggingface": json.dumps({"info": {"features": features}}, ensure_ascii=False)}
    return pyarrow.schema(columns, metadata)


def table(plan: Plan, rows: Records, files: Sequence[bytes], into: pyarrow.Schema) -> pyarrow.Table:
    """Samples and their image files, one row each.

    `image.path` is the file's name in an archive of class folders; `pixel_sha256` is hexadecimal,
    and of the pixels before encoding.
    """
    import pyarrow

    cells = rows["cell"]
    label_of = np.array([cell.label for cell in plan.cells], np.int64)
    paths = Layout(plan).paths(rows["index"], cells)
    image = pyarrow.StructArray.from_arrays(
        [pyarrow.array(files, pyarrow.binary()), _strings(paths)], ["bytes", "path"]
    )
    models = Choices([plan.models[cell.model].ref.encode() for cell in plan.cells])
    classes = Choices([plan.classes[label].encode() for label in label_of])
    values: list[Any] = [
        image,
        label_of[cells],
        rows["index"],
        _strings(classes.of(cells)),
        _strings(models.of(cells)),
        np.full(len(rows), plan.seed, np.int64),
        rows["candidate"],
        _strings(hexadecimal(rows["pixel_sha256"])),
    ]
    if plan.variants > 1:
        values += Variants(plan).columns(rows["index"])
    if plan.merge:
        values += [[SYNTHETIC] * len(rows), [TRAIN] * len(rows)]
    columns = [
        value if isinstance(value, pyarrow.Array) else pyarrow.array(value, field.type)
        for value, field in zip(values, into, strict=True)
    ]
    return pyarrow.Table.from_arrays(columns, schema=into)


def _strings(text: Text) -> pyarrow.StringArray:
    """The rows of a text, without a string of Python for each."""
    import pyarrow

    ends = np.zeros(len(text.content) + 1, np.int32)
    np.cumsum(text.lengths, out=ends[1:])
    buffers = pyarrow.py_buffer(ends), pyarrow.py_buffer(text.joined())
    return pyarrow.StringArray.from_buffers(len(text.content), *buffers)


def writing() -> dict[str, Any]:
    """How files are written: images are compressed already."""
    return {
        "compression": {
            "image.bytes": "NONE",
            **dict.fromkeys(("image.path", "label", *COLUMNS, *VARIANTS), "ZSTD"),
        },
        "use_dictionary": ["class", "model"],
    }
