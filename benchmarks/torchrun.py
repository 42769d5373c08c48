"""Processes under torchrun, for benchmarks of several."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


def start(count: int, *words: str, threads: int = 1, **options: Any) -> subprocess.Popen[str]:
    """`torchrun --standalone --nproc-per-node COUNT WORDS`; `options` are Popen's.

    Several threads wait for each other as they do without torchrun.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(count), *words]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    environment.pop("OMP_WAIT_POLICY", None)
    if threads == 1:
        environment["OMP_WAIT_POLICY"] = "passive"
    return subprocess.Popen(command, env=environment, text=True, **options)


def answer(count: int, module: str, *words: str, threads: int = 1) -> dict[str, Any]:
    """What one of the processes of a module printed as a line of JSON."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = start(count, "-m", module, *words, threads=threads, **pipes)
    out, problem = running.communicate()
    for line in out.splitlines():
        if line.startswith("{"):
            return json.loads(line)
    raise SystemExit(problem)
