"""Compresses many small images with one of libdeflate's compressors.

`deflate.zlib_compress` makes a compressor for each call, which takes a fifth of the time of an
image of 28 x 28. Its package holds libdeflate's own functions too, in the file of its extension;
they are called here by ctypes, which lets other threads run meanwhile. A build of the package that
hides them gives the same bytes by its own function, and takes longer.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

import deflate
from deflate import _deflate

_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "alloc_compressor": (ctypes.c_void_p, (ctypes.c_int,)),
    "free_compressor": (None, (ctypes.c_void_p,)),
    "zlib_compress_bound": (ctypes.c_size_t, (ctypes.c_void_p, ctypes.c_size_t)),
    "zlib_compress": (
        ctypes.c_size_t,
        (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t),
    ),
}
"""Result and arguments, of libdeflate.h."""


def compress_all(images: Iterable[bytes], level: int) -> list[bytes]:
    """Each image as `deflate.zlib_compress(image, level)` has it."""
    functions = _functions()
    if functions is None:
        return [bytes(deflate.zlib_compress(image, level)) for image in images]
    compressor = functions["alloc_compressor"](level)
    if not compressor:
        raise MemoryError("no room for a compressor")
    try:
        return _compressed(
            images,
            partial(functions["zlib_compress_bound"], compressor),
            partial(functions["zlib_compress"], compressor),
        )
    finally:
        functions["free_compressor"](compressor)


def _compressed(
    images: Iterable[bytes], bound: Callable[[int], int], compress: Callable[..., int]
) -> list[bytes]:
    room, view, most = ctypes.create_string_buffer(0), memoryview(b""), -1
    found = []
    for image in images:
        size = len(image)
        if size > most:
            most = size
            room = ctypes.create_string_buffer(bound(size))
            view = memoryview(room)
        found.append(view[: compress(image, size, room, len(room))].tobytes())
    return found


@lru_cache(maxsize=1)
def _functions() -> dict[str, Callable[..., Any]] | None:
    """libdeflate's, by name without their prefix; None where the package does not show them."""
    try:
        library = ctypes.CDLL(_deflate.__file__)
        found = {name: getattr(library, f"libdeflate_{name}") for name in _FUNCTIONS}
    except (AttributeError, OSError):
        return None
    for name, (result, arguments) in _FUNCTIONS.items():
        found[name].restype, found[name].argtypes = result, arguments
    return found
