"""The examples of docs/onnx.md and docs/stylegan2.md do what the pages say."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models import checkpoint
from models.files import ONNX_FILE, WEIGHTS_FILE
from models.generator import sample
from models.onnx_options import OnnxOptions
from models.registry import build
from models.spec import ModelSpec
from models.stylegan2 import StyleGan2Options

DOCS = Path(__file__).parents[3] / "docs"
ONNX, STYLEGAN2 = (DOCS / "onnx.md").read_text(), (DOCS / "stylegan2.md").read_text()


def block(page: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", page, re.DOTALL)
    assert found
    return found[1]


def spec_of(page: str, content: bytes, **fields: object) -> ModelSpec:
    document = json.loads(block(page, "json"))
    weights = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return ModelSpec.model_validate(document | {"weights": weights} | fields)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("options", [None, {}])
def test_the_exported_generator_is_served_by_its_spec(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    names: dict[str, torch.nn.Module] = {}
    exec(block(ONNX, "python"), names)
    content = (tmp_path / "generator.onnx").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["generator.onnx"]
    spec = spec_of(ONNX, content, **({} if options is None else {"options": options}))
    (tmp_path / ONNX_FILE).write_bytes(content)
    generator = checkpoint.load(spec, tmp_path / ONNX_FILE)
    z, labels = torch.randn(12, 100), torch.arange(12) % 10
    with torch.inference_mode():
        wanted = names["generator"](z, labels)
    np.testing.assert_allclose(generator(z, labels).numpy(), wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("page", "options"), [(ONNX, OnnxOptions), (STYLEGAN2, StyleGan2Options)], ids=["onnx", "gan"]
)
def test_the_table_of_options_is_complete(page, options):
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([a-z_0-9]+)`", row)}
    assert set(options.model_fields) <= named


def test_a_shared_checkpoint_becomes_a_file_that_loads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = {"style_dim": 16, "mapping_layers": 2, "channel_max": 8, "truncation": 0.7}
    image = {"height": 16, "width": 16, "channels": 3}
    spec = spec_of(STYLEGAN2, b"x", options=small, image=image, latent_size=16)
    torch.manual_seed(1)
    generator = build(spec).eval()
    missing = [name for name in generator.derived if name.startswith("noises.")]
    generator.derive([*missing, "latent_avg"])
    state = generator.state_dict()
    mean = state.pop("latent_avg")
    torch.save({"g_ema": state, "latent_avg": mean[None]}, "checkpoint.pt")
    exec(block(STYLEGAN2, "python"), {})
    content = Path("generator.safetensors").read_bytes()
    assert "latent_avg" in load_file("generator.safetensors")
    (tmp_path / WEIGHTS_FILE).write_bytes(content)
    spec = spec_of(STYLEGAN2, content, options=small, image=image, latent_size=16)
    loaded = checkpoint.load(spec, tmp_path / WEIGHTS_FILE)
    z = np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    pixels = sample(loaded, z, None).pixels.astype(int)
    assert np.abs(pixels - sample(generator, z, None).pixels).max() <= 1
