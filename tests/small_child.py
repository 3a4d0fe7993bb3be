"""A stand-in for what a training does in its process: it counts, and goes on from what it counted.

Everything else is that of the real one: the process, its files, its signals, its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from app.errors import RunError
from app.runs.attempt import Stop, Teller
from app.runs.child import leave, main
from models.files import write_atomically

STATE = "counted.json"


def count(work: dict[str, Any], folder: Path, stop: Stop, tell: Teller) -> dict[str, Any]:
    """Count up to `steps`, as `options` say.

    pause: seconds a step. kill_at: a step that kills the process. fail_at: one that raises.
    hang_at: one that stops it as SIGSTOP does.
    """
    asked = work["options"]
    path = folder / STATE
    step = json.loads(path.read_text())["step"] if path.exists() else 0
    begun = step
    while step < asked["steps"]:
        step += 1
        if step == asked.get("kill_at") and begun == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == asked.get("always_kill_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        if step == asked.get("hang_at") and begun == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        if step == asked.get("fail_at"):
            raise RunError("Step broke. Ask for fewer.")
        write_atomically(path, json.dumps({"step": step}).encode())
        tell("counting", step=step, steps=asked["steps"], done=step / asked["steps"])
        stop.check()
        time.sleep(asked.get("pause", 0.0))
    (folder / "evaluation").mkdir(exist_ok=True)
    write_atomically(folder / "evaluation" / "evaluation.json", b"{}")
    return {"counted": step, "begun": begun, "gate": asked.get("gate")}


if __name__ == "__main__":
    leave(main(Path(sys.argv[1]), float(sys.argv[2]), lambda kind: count))
