"""docs/declared.md says what the code does: types, options, defaults, examples."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic_core import PydanticUndefined

from models.declared.document import EmbeddingInput, Join, Latent, OneHot, parse_options
from models.declared.import_spec import ImportSpec, TensorRules, read_import_spec
from models.declared.layers import LAYER_TYPES, AnyLayer
from models.declared.walk import trace
from models.spec import Weights

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "declared.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| `")]
FENCED = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)


def row_of(word: str) -> str:
    rows = [row for row in ROWS if f"`{word}`" in row.split("|")[1]]
    assert len(rows) == 1, word
    return rows[0].split("|")[2]


@pytest.mark.parametrize("word", sorted(LAYER_TYPES))
def test_each_layer_has_its_row(word):
    assert row_of(word) is not None


def fields_of(kind) -> list[tuple[str, object]]:
    return [(f.alias or name, f.default) for name, f in kind.model_fields.items() if name != "type"]


LAYERS = [(get_args(kind.model_fields["type"].annotation)[0], kind) for kind in get_args(AnyLayer)]
INPUTS = [("latent", Latent), ("one_hot", OneHot), ("embedding", EmbeddingInput), ("join", Join)]


@pytest.mark.parametrize(("word", "kind"), [*LAYERS, *INPUTS], ids=lambda value: str(value))
def test_options_and_defaults_are_those_of_the_code(word, kind):
    row = row_of(word)
    if "as `conv`" in row:
        row += row_of("conv")
    for name, default in fields_of(kind):
        assert f"`{name}`" in row, name
        said = row.split(f"`{name}`", 1)[1].replace('`"', '"').replace('"`', '"').strip()
        if default in (None, (), PydanticUndefined):
            continue
        one = default[0] if isinstance(default, tuple) else default
        text = json.dumps(one)
        assert said.startswith(text) or f"{text}: one number" in said, (word, name, said)


@pytest.mark.parametrize("kind", [ImportSpec, TensorRules])
def test_each_key_of_the_document_has_its_row(kind):
    for name in kind.model_fields:
        assert name == "format" or any(f"`{name}`" in row.split("|")[1] for row in ROWS), name


@pytest.mark.parametrize("example", [text for kind, text in FENCED if kind == "json"])
def test_examples_are_networks(example):
    document = json.loads(example)
    if "name" not in document:
        document = {"inputs": ["latent", document], "merge": "concat", "layers": []}
        assert parse_options(document)
        return
    spec = read_import_spec(example.encode())
    assert len(example.splitlines()) <= 40
    assert trace(parse_options(spec.options), spec.image, spec.latent_size, len(spec.classes))
    assert spec.model_spec(Weights(sha256="0" * 64, bytes=1)).name == spec.name


def test_the_first_example_is_the_network_beside_it():
    """Its Python is run, and its state dict matched in the order of the file and by name."""
    import torch
    from torch import nn

    from models.declared.folding import Found
    from models.declared.mapping import match_tensors

    code = next(text for kind, text in FENCED if kind == "python")
    names: dict[str, object] = {"nn": nn, "torch": torch}
    exec(code, names)
    state = names["Generator"]().state_dict()  # type: ignore[operator]
    found = {
        name: Found("F32" if t.is_floating_point() else "I64", tuple(t.shape))
        for name, t in state.items()
    }
    spec = read_import_spec(next(text for kind, text in FENCED if kind == "json").encode())
    wanted = trace(
        parse_options(spec.options), spec.image, spec.latent_size, len(spec.classes)
    ).tensors
    by_name = match_tensors(wanted, found, spec.tensors)
    assert by_name == match_tensors(wanted, found, TensorRules())


def test_the_python_of_the_page_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    code = [text for kind, text in FENCED if kind == "python"][-1]
    exec(code.replace('open("docs/specs/maverick-cgan-mnist.json", "rb").read()', "CONTENT"),
         {"CONTENT": (ROOT / "docs/specs/maverick-cgan-mnist.json").read_bytes()})  # fmt: skip
