"""Which names a checkpoint's pickle may contain, and what they stand for. An explicit table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from models.importing.errors import Kind, UnsupportedCheckpointError
from models.importing.tensors import rebuilt
from models.importing.values import DTYPES, STORAGES, Global, Opaque, Tensor

NUMPY: Final = ("numpy.core.multiarray", "numpy._core.multiarray")
OPAQUE: Final = frozenset(
    {f"{module}.{name}" for module in NUMPY for name in ("scalar", "_reconstruct")}
    | {
        "numpy.ndarray", "numpy.dtype", "numpy.core.numeric._frombuffer",
        "numpy._core.numeric._frombuffer", "argparse.Namespace", "types.SimpleNamespace",
        "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath",
        "pathlib._local.PosixPath", "datetime.datetime", "datetime.date", "datetime.timedelta",
        "torch.device", "torch.Size", "torch.serialization._get_layout", "_codecs.encode",
        "builtins.set", "builtins.frozenset", "builtins.bytearray", "builtins.complex",
        "builtins.slice", "builtins.range", "builtins.int", "builtins.float", "builtins.str",
        "builtins.bool", "builtins.bytes", "builtins.list", "builtins.tuple", "builtins.object",
        "__builtin__.set", "__builtin__.object", "collections.deque",
    }
)  # fmt: skip
"""Harmless things that trainings save beside their weights. They are passed over, not made."""

DICTIONARIES: Final = frozenset(
    {
        "collections.OrderedDict",
        "collections.defaultdict",
        "collections.Counter",
        "builtins.dict",
        "__builtin__.dict",
    }
)
TENSOR_CLASSES: Final = frozenset(
    {"torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter"}
)
REFUSED: Final[Mapping[str, Kind]] = {
    "torch._utils._rebuild_sparse_tensor": Kind.SPARSE,
    "torch._utils._rebuild_sparse_csr_tensor": Kind.SPARSE,
    "torch._utils._rebuild_nested_tensor": Kind.SUBCLASS,
    "torch._utils._rebuild_qtensor": Kind.QUANTISED,
    "torch._utils._rebuild_meta_tensor_no_storage": Kind.META,
    "torch._utils._rebuild_wrapper_subclass": Kind.SUBCLASS,
    "torch._utils._rebuild_device_tensor_from_numpy": Kind.SUBCLASS,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": Kind.SUBCLASS,
    "torch._utils._rebuild_xla_tensor": Kind.SUBCLASS,
    "torch.storage._load_from_bytes": Kind.PLAIN_PICKLE,
}


def _dictionary(*arguments: Any) -> dict[Any, Any]:
    """OrderedDict(), OrderedDict([[key, value], …]), defaultdict(factory)."""
    pairs = arguments[0] if arguments else []
    if isinstance(pairs, list) and all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
        keys = [pair[0] for pair in pairs]
        if all(isinstance(key, str | int) for key in keys):
            return dict(zip(keys, (pair[1] for pair in pairs), strict=True))
    return {}


def _v2(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    """(storage, offset, size, stride, requires_grad, hooks, metadata)."""
    _no_lazy_bits(rest[2] if len(rest) > 2 else None)
    return rebuilt(storage, offset, size, stride)


def _v3(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    """(storage, offset, size, stride, requires_grad, hooks, dtype, metadata)."""
    _no_lazy_bits(rest[3] if len(rest) > 3 else None)
    dtype = rest[2] if len(rest) > 2 else None
    if not isinstance(dtype, Global) or dtype.name not in DTYPES:
        found = dtype.path if isinstance(dtype, Global) else "no type"
        raise UnsupportedCheckpointError(Kind.DTYPE, found)
    return rebuilt(storage, offset, size, stride, DTYPES[dtype.name])


def _no_lazy_bits(metadata: Any) -> None:
    """Conjugation and negation are bits beside the numbers; no float weight has them."""
    if isinstance(metadata, dict) and any(value is not False for value in metadata.values()):
        raise UnsupportedCheckpointError(Kind.SUBCLASS, "a lazily negated tensor")


def _parameter(tensor: Any, *_: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise UnsupportedCheckpointError(Kind.BAD_TENSOR, "a parameter without a tensor")
    return tensor


def _from_type(function: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    """A tensor with attributes of its own (torch._tensor._rebuild_from_type_v2)."""
    if not isinstance(kind, Global) or kind.path not in TENSOR_CLASSES:
        raise UnsupportedCheckpointError(Kind.SUBCLASS, getattr(kind, "path", ""))
    return call(function, arguments)


CALLS: Final[Mapping[str, Callable[..., Any]]] = {
    **dict.fromkeys(DICTIONARIES, _dictionary),
    "torch._utils._rebuild_tensor": _v2,
    "torch._utils._rebuild_tensor_v2": _v2,
    "torch._utils._rebuild_tensor_v3": _v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.nn.parameter.Parameter": _parameter,
}


def call(function: Any, arguments: Any) -> Any:
    """What the pickle's call stands for; a name out of the tables is refused."""
    if isinstance(function, Opaque):
        return function
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        raise UnsupportedCheckpointError(Kind.DAMAGED, "the pickle calls what is no function")
    if function.path in CALLS:
        try:
            return CALLS[function.path](*arguments)
        except TypeError as error:
            raise UnsupportedCheckpointError(
                Kind.DAMAGED, f"{function.path} with wrong arguments"
            ) from error
    if function.path in OPAQUE:
        return Opaque(function.path)
    raise refusal(function)


def named(module: Any, name: Any) -> Global:
    """The name as a value, if the tables know it."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise UnsupportedCheckpointError(Kind.DAMAGED, "the pickle names what is no text")
    found = Global(module, name)
    if found.path in CALLS or found.path in OPAQUE or found.path in TENSOR_CLASSES:
        return found
    if module == "torch" and (name in DTYPES or name in STORAGES):
        return found
    if found.path in ("torch.cuda." + name, "torch.storage." + name) and _is_storage(name):
        return found
    raise refusal(found)


def _is_storage(name: str) -> bool:
    return name in STORAGES or name in ("UntypedStorage", "TypedStorage")


def storage_dtype(found: Any) -> str | None:
    """Type of the items of a storage class; "bytes" for an untyped one, None if it is none."""
    if not isinstance(found, Global) or not _is_storage(found.name):
        return None
    return STORAGES.get(found.name, "bytes")


def refusal(found: Global) -> UnsupportedCheckpointError:
    """Why a name is refused: it runs code, it is a network, or it is somebody's class."""
    kind = REFUSED.get(found.path)
    if kind is not None:
        return UnsupportedCheckpointError(kind)
    detail = f"it names {found.path}"
    if found.module.startswith("torch.nn.") or found.module == "__main__":
        return UnsupportedCheckpointError(Kind.PICKLED_MODULE, detail)
    if found.module == "torch" and found.name.endswith("Storage"):
        quantised = found.name.startswith("Q")
        return UnsupportedCheckpointError(Kind.QUANTISED if quantised else Kind.DTYPE, found.name)
    if found.module == "torch":
        return UnsupportedCheckpointError(Kind.DTYPE, found.path)
    root = found.module.split(".")[0]
    if root in sys.stdlib_module_names or root in ("__builtin__", "torch", "numpy", "nt", "dill"):
        return UnsupportedCheckpointError(Kind.UNSAFE_PICKLE, detail)
    return UnsupportedCheckpointError(Kind.FOREIGN_OBJECTS, detail)
