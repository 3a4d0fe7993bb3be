"""constraints.txt pins what pyproject.toml asks for, within its bounds, and names no place."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = [
    line
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line[:1] not in ("#", "")
]
PINS = {Requirement(line).name: Requirement(line) for line in LINES}
ASKED = [
    Requirement(line)
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in group
]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_a_dependency_is_pinned_within_its_bounds(asked: Requirement) -> None:
    if asked.name == PROJECT["name"]:
        return
    pin = PINS.get(canonicalize_name(asked.name))
    assert pin is not None, "run it once and add the version that was tried"
    (version,) = [clause.version for clause in pin.specifier]
    assert asked.specifier.contains(version), f"{version} was tried, {asked} is asked for"


@pytest.mark.parametrize("pin", PINS.values(), ids=str)
def test_a_pin_is_a_name_and_a_version(pin: Requirement) -> None:
    assert [clause.operator for clause in pin.specifier] == ["=="]
    assert pin.url is None
    assert not pin.extras
    assert canonicalize_name(pin.name) == pin.name


def test_names_are_sorted_and_named_once() -> None:
    assert sorted(PINS) == list(PINS)
    assert len(PINS) == len(LINES)
    assert PROJECT["name"] not in PINS
