"""Runs of several processes, one of which is killed: whether they go on, how soon, and to the bit.

    python -m benchmarks.kills [--kills 50] [--processes 2] [--out FILE]

A small run is made once without harm. Then it is made again and again under torchrun, and at a
random moment of it one of its processes is killed (SIGKILL). It must end with code 0 and the same
metrics. The time to recover is from the kill to the next line of metrics.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import torchrun
from rlmaml.types import Metrics
from runners.io import versions, write_json
from runners.run_dir import RunDir, repeatable

RUN = ["train", "navigation", "--iterations", "40", "--tasks", "5", "--episodes", "4"]
RUN += ["--horizon", "20", "--checkpoint-every", "5", "--threads", "1", "--quiet"]
RUN += ["--normalize-observations", "True"]


def start(count: int, out: Path) -> subprocess.Popen[str]:
    """The run, under torchrun."""
    with open(f"{out}.log", "wb") as log:
        words = ("--max-restarts", "3", "-m", "runners", *RUN, "--out", str(out))
        return torchrun.start(count, *words, stdout=log, stderr=log)


def children(pid: int) -> list[int]:
    """The processes that torchrun started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in listed]


def lines(out: Path) -> int:
    """Lines of metrics so far."""
    path = out / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def metrics(out: Path) -> list[Metrics]:
    """What does not depend on the clock or on how often the run was begun."""
    return [repeatable(line) for line in RunDir(out).read_metrics()]


def killed(count: int, out: Path, after: float, rng: random.Random) -> dict[str, Any]:
    """One run whose process is killed so many seconds after the start of its metrics, or before."""
    running = start(count, out)
    began = time.monotonic()
    while not children(running.pid) and time.monotonic() - began < 60:
        time.sleep(0.02)
    time.sleep(after)
    if running.poll() is not None:
        raise SystemExit(f"{out} was done before the kill: {Path(f'{out}.log').read_text()}")
    victims = children(running.pid)
    rank = rng.randrange(len(victims))
    os.kill(victims[rank], signal.SIGKILL)
    moment, before = time.monotonic(), lines(out)
    while lines(out) <= before and running.poll() is None:
        time.sleep(0.02)
    recovered = time.monotonic() - moment
    code = running.wait(timeout=300)
    return {"rank": rank, "after": after, "lines": before, "recovered": recovered, "code": code}


def summary(rows: list[dict[str, Any]], count: int) -> dict[str, Any]:
    """The kills so far, how many were survived to the bit, and how soon."""
    recovered = [row["recovered"] for row in rows]
    return {
        "command": f"python -m benchmarks.kills {' '.join(sys.argv[1:])}",
        "versions": versions(),
        "processes": count,
        "survived": sum(row["same"] for row in rows),
        "kills": rows,
        "recovered": {"median": statistics.median(recovered), "most": max(recovered)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="how many")
    parser.add_argument("--processes", type=int, default=2, help="of the run")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    rng = random.Random(0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        began = time.monotonic()
        if start(options.processes, whole).wait() != 0:
            raise SystemExit(Path(f"{whole}.log").read_text())
        took, expected = time.monotonic() - began, metrics(whole)
        for number in range(options.kills):
            out = Path(folder) / f"kill-{number}"
            row = killed(options.processes, out, rng.uniform(0, 0.8 * took), rng)
            row["same"] = row["code"] == 0 and metrics(out) == expected
            rows.append(row)
            print(number, row, flush=True)
            if options.out:  # after each, so that an end of this loses none
                write_json(options.out, summary(rows, options.processes))
    print(json.dumps({k: v for k, v in summary(rows, options.processes).items() if k != "kills"}))


if __name__ == "__main__":
    main()
