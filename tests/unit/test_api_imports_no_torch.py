"""The API process, as far as it goes without a request: no torch, nothing else that is heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json, sys, threading
from pathlib import Path
from app.bootstrap import prepare
from app.main import create_app
from app.settings import Settings

settings = Settings(data_dir=Path(sys.argv[1]), _env_file=None)
prepare(settings)
app = create_app(settings)
app.openapi()

import asyncio
async def live():
    async with app.router.lifespan_context(app):
        pass
asyncio.run(live())
print(json.dumps({"modules": sorted(sys.modules), "threads": threading.active_count()}))
"""


def test_a_started_api_has_loaded_no_torch(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    found = json.loads(run.stdout.splitlines()[-1])
    heavy = {
        "torch",
        "torchvision",
        "sklearn",
        "scipy",
        "matplotlib",
        "pandas",
        "pyarrow",
        "safetensors",
    }
    assert not {name.split(".")[0] for name in found["modules"]} & heavy
    assert "app.worker" not in found["modules"]
    assert not any(name.startswith("app.engine") for name in found["modules"])
    assert found["threads"] == 1
