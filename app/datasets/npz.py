"""NumPy's archive of named arrays, NPZ: a stored zip of NPY files (`numpy.lib.format`, 1.0)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.datasets.zip_writer import ZipWriter


def npz_file(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """What `numpy.load` reads as these arrays; equal arrays give equal bytes."""
    out = io.BytesIO()
    archive = ZipWriter(out)
    archive.add_all([f"{name}.npy" for name in arrays], list(map(_npy, arrays.values())))
    archive.close()
    return out.getvalue()


def _npy(array: NDArray[Any]) -> bytes:
    return _head(array.dtype.str, array.shape) + array.tobytes()


@lru_cache(maxsize=256)
def _head(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Kept, because NumPy takes longer to write it than a small batch of images."""
    out = io.BytesIO()
    described = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, described)
    return out.getvalue()
