"""Files that are programs: pickles that call, modules, TorchScript, torch.export, torch.package."""

from __future__ import annotations

import io
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.importing.errors import Kind
from tests.hostile.building import MAGIC, Op, legacy, saved, state_dict, torch_zip, zipped

UNSAFE = {Kind.UNSAFE_PICKLE}
Row = tuple[Callable[[Path], bytes], set[Kind]]


class Call:
    """Pickled, it is a call of that function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class Generator(nn.Sequential):
    """A network that is saved whole, with the name of its class."""


def touch(marker: Path) -> Call:
    import os

    return Call(os.system, f"touch {marker}")


def in_folder(write: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write(path)
        return path.read_bytes()


def torchscript(_: Path) -> bytes:
    """The layout of torch.jit.save; writing one with this torch warns that it is deprecated."""
    code = b"class Net(Module):\n  def forward(self):\n    return torch.from_file('/etc/passwd')\n"
    return zipped(
        {
            "net/data.pkl": Op().raw(b"c__torch__\nNet\n)\x81").end(),
            "net/code/__torch__.py": code,
            "net/constants.pkl": pickle.dumps((), 2),
            "net/version": b"3\n",
        }
    )


def exported(marker: Path) -> bytes:
    """The layout of torch.export.save, whose example inputs torch itself would unpickle."""
    return zipped(
        {
            "net/archive_format": b"pt2",
            "net/archive_version": b"0",
            "net/byteorder": b"little",
            "net/models/model.json": b"{}",
            "net/data/sample_inputs/model.pt": saved(touch(marker)),
            "net/data.pkl": pickle.dumps({}),
        }
    )


def packaged(_: Path) -> bytes:
    stream = io.BytesIO()
    with torch.package.PackageExporter(stream) as exporter:
        exporter.save_text("code", "note", "text")
        exporter.save_source_string("net", "import os\nos.getcwd()\n")
    return stream.getvalue()


def poisoned(value: Any, marker: Path) -> dict[str, Any]:
    return {"state_dict": value, "epoch": 3, "args": [{"deep": [touch(marker)]}]}


def by_name(path: str, *arguments: Any) -> Callable[[Path], bytes]:
    """A torch file whose pickle calls that name, whether or not it can be imported here."""

    def make(_: Path) -> bytes:
        code = Op().name(path).raw(b"(")
        for argument in arguments:
            code.value(argument)
        return torch_zip(code.raw(b"tR").end())

    return make


def by_stack(marker: Path) -> bytes:
    """The name lies on the stack, in pieces that only meet there (protocol 4)."""
    code = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c"
    command = f"touch {marker}".encode()
    return torch_zip(code + bytes([len(command)]) + command + b"\x85R.")


def after_the_end(marker: Path) -> bytes:
    """A second pickle behind the first one's end: torch never reads it, and neither do we."""
    return torch_zip(pickle.dumps({}, 2) + pickle.dumps(touch(marker), 2))


def protocol(number: int) -> Row:
    def make(marker: Path) -> bytes:
        return torch_zip(pickle.dumps({"w": touch(marker)}, number))

    return make, UNSAFE


def text_protocol(marker: Path) -> bytes:
    return f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()


def legacy_in_system_info(marker: Path) -> bytes:
    """The third pickle of a legacy file, read before the state dict."""
    pickles = [MAGIC, 1001, {"little_endian": touch(marker)}, {}, []]
    return b"".join(pickle.dumps(value, 2) for value in pickles)


def legacy_in_keys(marker: Path) -> bytes:
    system = {"little_endian": True, "protocol_version": 1001, "type_sizes": {}}
    return b"".join(pickle.dumps(v, 2) for v in (MAGIC, 1001, system, {}, [touch(marker)]))


def old_instance(marker: Path) -> bytes:
    """INST, the call of protocol 0."""
    return torch_zip(f"(S'touch {marker}'\nios\nsystem\n.".encode())


def old_object(marker: Path) -> bytes:
    """OBJ, the call of protocol 1."""
    return torch_zip(Op().raw(b"(").name("os.system").text(f"touch {marker}").raw(b"o").end())


def module_and_call(marker: Path) -> bytes:
    net = Generator(nn.Linear(2, 2))
    net.note = touch(marker)  # type: ignore[assignment]
    return saved(net)


NET = Generator(nn.Linear(2, 2), nn.Tanh())

CASES: dict[str, Row] = {
    "os-system": (lambda m: saved(touch(m)), UNSAFE),
    "in-the-state-dict": (lambda m: saved(state_dict() | {"x": touch(m)}), UNSAFE),
    "deep-in-the-wrapper": (lambda m: saved(poisoned(state_dict(), m)), UNSAFE),
    "legacy": (lambda m: legacy(poisoned(state_dict(), m)), UNSAFE),
    "legacy-system-info": (legacy_in_system_info, UNSAFE),
    "legacy-storage-keys": (legacy_in_keys, UNSAFE),
    "plain-pickle": (lambda m: pickle.dumps(touch(m)), UNSAFE),
    "text-pickle": (text_protocol, UNSAFE),
    "stack-global": (by_stack, UNSAFE),
    "inst": (old_instance, UNSAFE),
    "obj": (old_object, UNSAFE),
    "second-pickle": (after_the_end, {Kind.NO_TENSORS}),
    "eval": (lambda m: saved(Call(eval, f"open({str(m)!r}, 'w')")), UNSAFE),
    "exec": (lambda m: saved(Call(exec, f"open({str(m)!r}, 'w')")), UNSAFE),
    "getattr-chain": (by_name("builtins.getattr", "os", "system"), UNSAFE),
    "import": (by_name("builtins.__import__", "os"), UNSAFE),
    "subprocess": (by_name("subprocess.Popen", ["true"]), UNSAFE),
    "spawn": (by_name("multiprocessing.util.spawnv_passfds", "/bin/true", []), UNSAFE),
    "runpy": (by_name("runpy._run_code", "1"), UNSAFE),
    "collect-env": (by_name("torch.utils.collect_env.run", "true"), UNSAFE),
    "torch-hub": (by_name("torch.hub.load", "x/y", "z"), UNSAFE),
    "torch-load": (by_name("torch.load", "x"), {Kind.DTYPE, Kind.UNSAFE_PICKLE}),
    "load-from-bytes": (by_name("torch.storage._load_from_bytes", b"x"), {Kind.PLAIN_PICKLE}),
    "numpy-runstring": (by_name("numpy.testing._private.utils.runstring", "1", {}), UNSAFE),
    "python-2-names": (by_name("__builtin__.execfile", "/etc/passwd"), UNSAFE),
    "dill": (by_name("dill._dill._create_function", 1), UNSAFE),
    "somebody's-class": (by_name("diffusion.config.Settings"), {Kind.FOREIGN_OBJECTS}),
    "extension-code": (lambda _: torch_zip(b"\x80\x02\x82\x01."), UNSAFE),
    "module": (lambda _: saved(NET), {Kind.PICKLED_MODULE, Kind.UNSAFE_PICKLE}),
    "module-of-torch": (lambda _: saved(nn.Linear(2, 2)), {Kind.PICKLED_MODULE}),
    "module-legacy": (lambda _: legacy(nn.Linear(2, 2)), {Kind.PICKLED_MODULE}),
    "module-in-a-wrapper": (
        lambda _: saved({"model": nn.Linear(2, 2)}), {Kind.PICKLED_MODULE}),
    "module-with-a-call": (module_and_call, UNSAFE),
    "torchscript": (torchscript, {Kind.TORCHSCRIPT}),
    "torch-export": (exported, {Kind.EXPORTED}),
    "torch-package": (packaged, {Kind.PACKAGE}),
    **{f"protocol-{number}": protocol(number) for number in range(6)},
}  # fmt: skip
