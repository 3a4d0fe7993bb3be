"""The files for pipelines: their shell lines run, with the installed command, against a service."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from app.datasets.verify import verify
from tests.harness import Server

CI = Path(__file__).parents[2] / "docs" / "ci"
ON_SQLITE = pytest.mark.parametrize("server", ["sqlite"], indirect=True)
RECIPE = "model: fashion-cgan\nsamples_per_class: {bag: 3, coat: 2}\nformats: [imagefolder, npz]\n"


def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CI / "action.yml").read_text())
    return found


def run(lines: str, folder: Path, server: Server, **variables: str) -> None:
    """Shell lines, as a runner runs them, where the command is installed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SYNTHLOOM_", "GITHUB_"))}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {"PATH": path, "SYNTHLOOM_SERVER": server.url, "SYNTHLOOM_API_KEY": server.key}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", lines],
        cwd=folder,
        env=kept | given | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def filled(text: str, inputs: dict[str, str]) -> str:
    """A value of the action with its inputs put in."""
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda match: inputs[match[1]], text)


@ON_SQLITE
def test_the_action_augments_and_tells_later_steps(server: Server, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    [step] = [step for step in action()["runs"]["steps"] if step.get("id") == "augment"]
    inputs = {name: str(given.get("default", "")) for name, given in action()["inputs"].items()}
    inputs |= {"recipe": "recipe.yaml", "server": server.url, "api-key": server.key}
    variables = {name: filled(text, inputs) for name, text in step["env"].items()}
    said = {"GITHUB_OUTPUT": str(tmp_path / "o"), "GITHUB_STEP_SUMMARY": str(tmp_path / "s")}
    for _ in range(2):
        run(step["run"], tmp_path, server, **variables, **said)
    outputs = [line.split("=") for line in (tmp_path / "o").read_text().splitlines()]
    names = {value["value"].split(".outputs.")[1].split()[0]
             for value in action()["outputs"].values()}  # fmt: skip
    assert names == {name for name, _ in outputs}
    assert [value for name, value in outputs if name == "up-to-date"] == ["false", "true"]
    assert (tmp_path / "s").read_text().count("## Synthloom: 5 samples") == 2
    kept = [step for step in action()["runs"]["steps"] if step["name"] == "Keep the report"]
    files = filled(kept[0]["with"]["path"], inputs).split()
    assert [file for file in files if not (tmp_path / file).is_file()] == []


def test_the_action_is_pinned_and_puts_no_input_into_a_shell() -> None:
    steps = action()["runs"]["steps"]
    used = [step["uses"] for step in steps if "uses" in step]
    assert len(used) == 3
    assert all(re.fullmatch(r"actions/[\w/-]+@[0-9a-f]{40}", name) for name in used)
    assert not [step for step in steps if "${{" in step.get("run", "")]
    asked = set(re.findall(r"inputs\.([\w-]+)", (CI / "action.yml").read_text()))
    assert asked == set(action()["inputs"])


@ON_SQLITE
def test_the_gitlab_job_augments(server: Server, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    job = yaml.safe_load((CI / "gitlab.yml").read_text())[".synthloom"]
    variables = job["variables"] | {"REQUIREMENT": "", "SYNTHLOOM_SERVER": server.url}
    run("\n".join([*job["before_script"], *job["script"]]), tmp_path, server, **variables)
    assert verify(tmp_path / "data" / "imagefolder").delivered == {"bag": 3, "coat": 2}
    assert verify(tmp_path / "data" / "npz").ok
    kept = [path.replace("$OUT", "data") for path in job["artifacts"]["paths"]]
    assert [path for path in kept if not (tmp_path / path).is_file()] == []


@ON_SQLITE
def test_a_folder_of_the_repository_is_balanced(server: Server, tmp_path: Path) -> None:
    for name, count in {"bag": 4, "coat": 1}.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(count):
            picture = Image.effect_noise((28, 28), 50.0 + number)
            picture.save(tmp_path / "images" / name / f"{number}.png")
    text = "model: fashion-cgan\nbalance: {dataset: ./images, to: max}\n"
    (tmp_path / "recipe.yaml").write_text(text)
    run("synthloom augment recipe.yaml --out data", tmp_path, server)
    lock = json.loads((tmp_path / "data" / "synthloom.lock.json").read_text())
    assert lock["samples_per_class"] == {"coat": 3}
    # Another checkout has other times: the same images, the same recipe, nothing to do.
    for file in (tmp_path / "images").rglob("*.png"):
        os.utime(file, (1, 1))
    run("synthloom augment recipe.yaml --out data --json > again.json", tmp_path, server)
    assert json.loads((tmp_path / "again.json").read_text())["up_to_date"] is True
    (tmp_path / "images" / "coat" / "more.png").write_bytes(
        (tmp_path / "images" / "bag" / "0.png").read_bytes()
    )
    run("synthloom augment recipe.yaml --out data", tmp_path, server)
    assert verify(tmp_path / "data" / "imagefolder").delivered == {"coat": 2}
