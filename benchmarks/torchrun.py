"""Processes under torchrun, a thread each, for benchmarks of several."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


def start(count: int, *words: str, **options: Any) -> subprocess.Popen[str]:
    """`torchrun --standalone --nproc-per-node COUNT WORDS`; `options` are Popen's."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(count), *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    return subprocess.Popen(command, env=environment, text=True, **options)


def answer(count: int, module: str, *words: str) -> dict[str, Any]:
    """What one of the processes of a module printed as a line of JSON."""
    running = start(count, "-m", module, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, problem = running.communicate()
    for line in out.splitlines():
        if line.startswith("{"):
            return json.loads(line)
    raise SystemExit(problem)
