"""Prints what pyproject.toml depends on, extras named as arguments included: pip can install
that before the sources are copied, so that a change of the sources keeps the layer."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = [line for extra in sys.argv[1:] for line in project["optional-dependencies"][extra]]
print("\n".join(project["dependencies"] + extras))  # noqa: T201
