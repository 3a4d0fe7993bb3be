"""Recipes: what is read from a file, what is refused at which line, and what identifies one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from app.jobs.request import MAX_SEED, JobRequest
from app.recipes.document import MAX_BYTES, read_document
from app.recipes.problems import Mark, RecipeError
from app.recipes.recipe import (
    ReadRecipe,
    Recipe,
    content_sha256,
    read_recipe,
    recipe_sha256,
    render_schema,
    seed_of,
)

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "docs" / "recipes").glob("*.yaml"))
SCHEMA = json.loads(render_schema())


def recipe(folder: Path, text: str) -> ReadRecipe:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return read_recipe(path)


def refused(folder: Path, text: str) -> list[str]:
    """The lines of the refusal, without the name of the file."""
    with pytest.raises(RecipeError) as refusal:
        recipe(folder, text)
    prefix = f"{folder / 'recipe.yaml'}:"
    return [line.removeprefix(prefix) for line in str(refusal.value).splitlines()]


# Values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("off", "off"), ("y", "y"), ("true", True), ("False", False), ("~", None),
        ("null", None), ("010", 10), ("0o10", 8), ("0x1F", 31), ("1_000", "1_000"), ("-3", -3),
        ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("12:30", "12:30"), ("2026-01-01",) * 2,
        ("'5'", "5"), ('"no"', "no"), (".inf", ".inf"), ("1.0.0", "1.0.0"), ("=", "="),
    ],
)  # fmt: skip
def test_words_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    found = read_document(f"x: {text}".encode(), "f").value["x"]
    assert (found, type(found)) == (value, type(value))


def test_keys_are_names_of_classes_whatever_they_look_like(tmp_path: Path) -> None:
    text = "model: m\nsamples_per_class: {no: 1, 7: 2, null: 3, 1.0: 4, true: 5}"
    assert recipe(tmp_path, text).request.samples_per_class == {
        "no": 1, "7": 2, "null": 3, "1.0": 4, "true": 5,
    }  # fmt: skip


def test_json_is_a_recipe_too(tmp_path: Path) -> None:
    body = {"model": "m", "samples_per_class": {"é": 3}, "gate": ["label_agreement>=0.9"]}
    assert recipe(tmp_path, json.dumps(body, indent=2)).body == body


def test_marks_are_those_of_another_reader() -> None:
    text = "a:\n  b: [1, {c: x}]\nd: |\n  long\n"
    document = read_document(text.encode(), "f")
    node: Any = yaml.compose(text, yaml.SafeLoader)
    inner = node.value[0][1].value[0][1].value[1].value[0][1]
    mark = Mark(inner.start_mark.line + 1, inner.start_mark.column + 1)
    assert document.mark_of(("a", "b", 1, "c")) == mark == Mark(2, 14)


# Refusals


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("model: a\nmodel: b\n", '2:1: "model" is given twice, first in line 1'),
        ("model: a\nseed: &x 1\n", "2:7: anchors and aliases are not allowed"),
        ("seed: *x\n", "1:7: anchors and aliases are not allowed"),
        ("model: !!python/object/apply:os.system [ls]\n", "1:8: the tag tag:yaml.org,2002:python"),
        ("model: !!str 5\n", "1:8: the tag tag:yaml.org,2002:str is not allowed"),
        ("? [a]\n: 1\n", "1:3: a key is a word"),
        ("model: a\n---\nmodel: b\n", "2:1: this is not YAML: expected a single document"),
        ("model: [a\n", "2:1: this is not YAML"),
        ("model: a\n\tseed: 1\n", "2:1: this is not YAML"),
        ("", "1:1: a recipe has fields"),
        ("- a\n", "1:1: a recipe has fields"),
        ("x: " + "[" * 40 + "]" * 40, "1:33: values lie in one another more than 30 deep"),
        ("model: " + "a" * MAX_BYTES, "1:1: the file has 262,145 bytes; at most 262,144"),
    ],
)
def test_what_is_no_plain_document(tmp_path: Path, text: str, line: str) -> None:
    [said] = refused(tmp_path, text)
    assert said.startswith(line)


@pytest.mark.parametrize("content", [b"model: \xff", b"model: a\x00b", b"\xfe\xff\x00"])
def test_bytes_that_are_no_text(content: bytes) -> None:
    with pytest.raises(RecipeError, match="1:1: the file is no UTF-8 text"):
        read_document(content, "f")


def test_everything_that_is_wrong_is_said_at_its_line(tmp_path: Path) -> None:
    text = (
        "model: fashion-cgan\n"
        "samplesperclass: 5\n"
        "samples_per_class:\n"
        "  bag: many\n"
        "  coat: 1_000\n"
        "report: {against: ds_x, lift: yes}\n"
        "formats: [imagefolder, zip]\n"
    )
    found = refused(tmp_path, text)
    assert [line.split(": ", 1)[0] for line in found] == ["2:1", "4:8", "5:9", "6:31", "7:24"]
    assert 'did you mean "samples_per_class"? Allowed: model, models, ' in found[0]
    assert found[1].endswith('samples_per_class.bag can\'t be "many"; allowed: a whole number')
    assert found[2].endswith("write 1000, without quotes")
    assert found[3].endswith('report.lift can\'t be "yes"; write true')
    assert '"imagefolder" or "webdataset" or "parquet" or "npz"' in found[4]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("model: m\nbalance: {dataset: x, to: maxx}", '2:27: balance.to can\'t be "maxx"; allowed: "max" or a whole number, at least 1'),  # noqa: E501
        ("model: m\nbalance:\n  dataset: x\n  to: {ratoi: 1}", '4:8: "ratoi" is no field of balance.to; did you mean "ratio"?'),  # noqa: E501
        ("model: m\nbalance: {to: max}", '2:10: give either "counts" or "dataset"'),
        ("models: [{weight: 1}]", '1:10: models[0] lacks the field "model"'),
        ("models: [{model: a, weight: -1}]", "1:29: models[0].weight can't be -1: it should be greater than 0; allowed: a number, more than 0, at most 1,000,000"),  # noqa: E501
        ("samples_per_class: 1", '1:1: Give either "model" or'),
        ("model: m\ngate: {beauty: 1}", "2:7: There is no figure 'beauty'. A gate can ask for: "),
        ("model: m\ngate: ['kid<=0.05']", "2:7: The gate asks for kid, which this job's report"),
        ("model: m\nbalance: {dataset: ./none, to: max}", "2:20: there is nothing at "),
    ],
)  # fmt: skip
def test_a_refusal_says_what_is_allowed(tmp_path: Path, text: str, line: str) -> None:
    [said] = refused(tmp_path, text)
    assert said.startswith(line)


# One vocabulary


def test_a_recipe_has_the_fields_of_a_request() -> None:
    assert Recipe.model_fields.keys() == JobRequest.model_fields.keys()
    assert SCHEMA["properties"].keys() == JobRequest.model_fields.keys()


def test_the_published_schema_is_that_of_the_code() -> None:
    assert (ROOT / "docs" / "recipe.schema.json").read_text() == render_schema()
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_valid_for_an_editor_and_for_the_command(path: Path) -> None:
    read = read_recipe(path)
    jsonschema.Draft202012Validator(SCHEMA).validate(read.document.value)
    first, target = path.read_text().splitlines()[0].split("$schema=")
    assert first == "# yaml-language-server: "
    assert (path.parent / target).samefile(ROOT / "docs" / "recipe.schema.json")


def test_an_editor_refuses_what_the_command_refuses() -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for body in ({"modle": "a"}, {"model": 5}, {"model": "a", "formats": ["rar"]}):
        assert not validator.is_valid(body)


# Identity

PINNED = {"model m": "ab" * 32}
BODY = "model: m\nsamples_per_class: {bag: 3, coat: 2}\n"


def test_the_hash_is_of_what_it_means_not_of_how_it_is_written(tmp_path: Path) -> None:
    first = recipe_sha256(recipe(tmp_path, BODY), PINNED)
    same = "# said otherwise\n{formats: [imagefolder], samples_per_class: {coat: 2, 'bag': 3},\n model: m}"  # noqa: E501  # fmt: skip
    assert recipe_sha256(recipe(tmp_path, same), PINNED) == first
    assert recipe_sha256(recipe(tmp_path, BODY), {"model m": "cd" * 32}) != first
    assert recipe_sha256(recipe(tmp_path, BODY.replace("3", "4")), PINNED) != first
    told = BODY + "webhook: {url: 'https://example.org/'}\n"
    assert recipe_sha256(recipe(tmp_path, told), PINNED) == first
    assert 0 <= seed_of(first) <= MAX_SEED


def test_a_folder_is_its_names_and_contents(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "bag").mkdir(parents=True)
        (tmp_path / name / "bag" / "1.png").write_bytes(b"1")
    os.utime(tmp_path / "two" / "bag" / "1.png", (0, 0))
    assert content_sha256(tmp_path / "one") == content_sha256(tmp_path / "two")
    (tmp_path / "two" / "bag" / "1.png").rename(tmp_path / "two" / "bag" / "2.png")
    assert content_sha256(tmp_path / "one") != content_sha256(tmp_path / "two")
