"""Checkpoints: saved to the bit, loaded strictly, and refused with a sentence when damaged."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors

from models import checkpoint, files
from models.errors import CheckpointError
from models.files import SPEC_FILE, WEIGHTS_FILE, read_classifier_spec, read_spec
from models.generator import sample
from models.header import read_header
from models.latents import normal
from models.registry import ARCHITECTURES, build
from models.spec import ModelSpec, Weights

EVERY = sorted(ARCHITECTURES)


@pytest.fixture(scope="module")
def saved(make_spec, tmp_path_factory) -> Path:
    """Folder of a small conditional cgan, float16."""
    folder = tmp_path_factory.mktemp("saved")
    spec = make_spec("cgan", (8, 8, 1))
    checkpoint.save(folder, spec, build(spec), torch.float16)
    return folder


def with_weights(folder: Path, content: bytes) -> ModelSpec:
    """Put other weights into a folder, and give a spec whose digest is theirs."""
    (folder / WEIGHTS_FILE).write_bytes(content)
    weights = Weights(sha256=hashlib.sha256(content).hexdigest(), bytes=max(1, len(content)))
    return read_spec(folder).model_copy(update={"weights": weights})


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


@pytest.mark.parametrize("architecture", EVERY)
@pytest.mark.parametrize("classes", [0, 3])
def test_what_is_saved_is_loaded_to_the_bit(make_spec, tmp_path, architecture, classes):
    spec = make_spec(architecture, (9, 8, 3), classes)
    generator = build(spec)
    written = checkpoint.save(tmp_path / "a", spec, generator)
    assert read_spec(tmp_path / "a") == written
    loaded = checkpoint.load(written, tmp_path / "a" / WEIGHTS_FILE)
    assert not loaded.training
    for name, tensor in generator.state_dict().items():
        assert loaded.state_dict()[name].equal(tensor), name
    again = checkpoint.save(tmp_path / "b", spec, loaded)
    assert again == written
    assert (tmp_path / "a" / WEIGHTS_FILE).read_bytes() == (
        tmp_path / "b" / WEIGHTS_FILE
    ).read_bytes()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once_and_computed_in_float32(make_spec, tmp_path, dtype):
    spec = make_spec("cgan")
    generator = build(spec)
    written = checkpoint.save(tmp_path, spec, generator, dtype)
    loaded = checkpoint.load(written, tmp_path / WEIGHTS_FILE)
    for name, tensor in generator.state_dict().items():
        kept = loaded.state_dict()[name]
        assert kept.dtype == tensor.dtype
        if tensor.is_floating_point():
            assert kept.equal(tensor.to(dtype).float()), name
    z = normal(seed=1, model="0" * 64, shard=0, first=0, count=8, size=spec.latent_size)
    labels = np.arange(8) % 3
    exact, rounded = (sample(g, z, labels).pixels.astype(int) for g in (generator, loaded))
    assert np.abs(exact - rounded).max() <= (2 if dtype == torch.float16 else 16)


def test_weights_that_overflow_are_not_saved(make_spec, tmp_path):
    spec = make_spec("vae")
    generator = build(spec)
    with torch.no_grad():
        generator.head.bias[0] = 1e6
    with pytest.raises(CheckpointError, match=r"head\.bias"):
        checkpoint.save(tmp_path / "new", spec, generator, torch.float16)
    assert not (tmp_path / "new").exists()


def test_a_save_that_fails_leaves_the_old_file(saved, copy, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(path.name for path in copy.iterdir())
    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(copy / WEIGHTS_FILE, b"half a file")
    assert sorted(path.name for path in copy.iterdir()) == before
    assert (copy / WEIGHTS_FILE).read_bytes() == (saved / WEIGHTS_FILE).read_bytes()


def test_one_flipped_bit_is_found(copy):
    spec = read_spec(copy)
    content = bytearray((copy / WEIGHTS_FILE).read_bytes())
    content[-1] ^= 1
    (copy / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"SHA-256 .* download the file again"):
        checkpoint.load(spec, copy / WEIGHTS_FILE)


@pytest.mark.parametrize("kept", [0, 7, 8, 100, -1])
def test_a_truncated_file_is_found(copy, kept):
    spec = read_spec(copy)
    content = (copy / WEIGHTS_FILE).read_bytes()[:kept]
    (copy / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bytes where the spec says"):
        checkpoint.load(spec, copy / WEIGHTS_FILE)
    with pytest.raises(CheckpointError, match=r"no valid safetensors file|bytes"):
        checkpoint.load(with_weights(copy, content), copy / WEIGHTS_FILE)


def test_a_missing_file_is_named(copy):
    spec = read_spec(copy)
    (copy / WEIGHTS_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"weights\.safetensors cannot be read"):
        checkpoint.load(spec, copy / WEIGHTS_FILE)


def tampered(folder: Path, change) -> ModelSpec:
    tensors = load_tensors((folder / WEIGHTS_FILE).read_bytes())
    change(tensors)
    return with_weights(folder, dump_tensors(tensors))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.pop("trunk.finish.bias"), r"lack trunk\.finish\.bias"),
        (lambda t: t.update(extra=torch.zeros(1)), "have extra beyond"),
        (
            lambda t: t.update({"trunk.finish.bias": torch.zeros(7)}),
            r"trunk\.finish\.bias has shape \[7\] where the architecture wants \[1\]",
        ),
        (
            lambda t: t.update({"trunk.finish.bias": torch.zeros(1, dtype=torch.float64)}),
            r"trunk\.finish\.bias is stored as F64; store it as one of F32, F16, BF16",
        ),
        (lambda t: t.clear(), "lack trunk"),
    ],
)
def test_tensors_that_do_not_fit_are_named(copy, change, sentence):
    spec = tampered(copy, change)
    with pytest.raises(CheckpointError, match=sentence):
        checkpoint.load(spec, copy / WEIGHTS_FILE)


def test_a_hostile_spec_gets_no_memory(copy):
    """A spec that asks for a network of tens of gigabytes is refused by its header alone."""
    huge = {"options": {"base": 256, "stages": 6}, "latent_size": 65536}
    spec = read_spec(copy).model_copy(update=huge)
    with pytest.raises(CheckpointError, match=r"shape|lack"):
        checkpoint.load(spec, copy / WEIGHTS_FILE)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_headers_never_raise_anything_else(saved, data):
    """Bytes of the header replaced: read as before or refused by our error, nothing else."""
    content = bytearray((saved / WEIGHTS_FILE).read_bytes())
    length = 8 + int.from_bytes(content[:8], "little")
    for position in data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    spec = read_spec(saved)
    with torch.device("meta"):
        generator = build(spec)
    try:
        checkpoint.fill(generator, bytes(content))
    except CheckpointError:
        return
    assert not any(tensor.is_meta for tensor in generator.state_dict().values())


HEADERS = {
    "overlap": {"a": ("F32", [1], [0, 4]), "b": ("F32", [1], [0, 4])},
    "gap": {"a": ("F32", [1], [0, 4]), "b": ("F32", [1], [8, 12])},
    "too long": {"a": ("F32", [9], [0, 36])},
    "length": {"a": ("F32", [2], [0, 4])},
    "negative": {"a": ("F32", [-1], [0, -4])},
    "overflow": {"a": ("F32", [2**62, 2**62], [0, 4])},
    "type": {"a": ("F128", [1], [0, 16])},
    "fraction": {"a": ("F32", [1.0], [0, 4])},
    "truth": {"a": ("F32", [True], [0, 4])},
    "no list": {"a": ("F32", 1, [0, 4])},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_headers_that_lie_are_refused(header):
    document = {
        name: {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        for name, (dtype, shape, offsets) in header.items()
    }
    text = json.dumps(document).encode()
    with pytest.raises(CheckpointError, match="no valid safetensors file"):
        read_header(len(text).to_bytes(8, "little") + text + bytes(8))


def test_the_header_of_a_real_file_is_read(saved):
    entries = read_header((saved / WEIGHTS_FILE).read_bytes())
    assert entries["trunk.finish.bias"].dtype == "F16"
    assert entries["trunk.finish.bias"].shape == (1,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "no valid spec"),
        ('{"format": 1}', "name: Field required"),
        ('{"format": 2, "name": "x"}', "format"),
        (" " * (1 << 20) + "{}", "larger than"),
    ],
)
def test_a_spec_that_is_none_is_refused(copy, text, sentence):
    (copy / SPEC_FILE).write_text(text)
    with pytest.raises(CheckpointError, match=sentence):
        read_spec(copy)


def test_a_folder_without_a_spec_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no readable spec\.json"):
        read_spec(tmp_path)
    with pytest.raises(CheckpointError, match=r"no readable classifier\.json"):
        read_classifier_spec(tmp_path)
