"""Learning curves of runs as one small file, and how soon they come to shares of a gap.

    python -m benchmarks.curves RUN... --out FILE
    python -m benchmarks.curves --show FILE --from RETURN --to RETURN

The file has, by seed, env steps, seconds and the returns before and after the last inner step of
each iteration, of training. Shown are env steps and minutes until the mean of the last `WINDOW`
iterations first is at 50, 75 and 90 % of the way between two returns: that of the untrained network
before any step, and the oracle's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import markdown
from runners import formatting
from runners.io import write_json
from runners.run_dir import RunDir

WINDOW = 5
SHARES = (0.5, 0.75, 0.9)
KEPT = {
    "env_steps": "env_steps",
    "seconds": "seconds",
    "return/pre": "before",
    "return/post": "after",
}


def curve(run: RunDir) -> dict[str, list[float]]:
    """A run's curve: numbers of five digits by name, an entry an iteration."""
    lines = run.read_metrics()
    return {
        name: [float(f"{float(line[metric]):.5g}") for line in lines]
        for metric, name in KEPT.items()
    }


def reached(curve: dict[str, list[float]], goal: float) -> tuple[float, float] | None:
    """(env steps, seconds) when the return after a step is first at `goal`; None if it never is.

    Args:
        curve: as `curve` makes it.
        goal: for the mean of `WINDOW` iterations.
    """
    means = np.convolve(curve["after"], np.ones(WINDOW) / WINDOW, mode="valid")
    there = np.flatnonzero(means >= goal)
    if len(there) == 0:
        return None
    last = int(there[0]) + WINDOW - 1
    return curve["env_steps"][last], curve["seconds"][last]


def table(curves: dict[str, dict[str, list[float]]], start: float, goal: float) -> str:
    """A line a seed, in Markdown."""
    rows = []
    for seed, one in curves.items():
        found = [reached(one, start + share * (goal - start)) for share in SHARES]
        rows.append([seed, *map(_cell, found)])
    return markdown.table(["seed", *(f"{share:.0%}" for share in SHARES)], rows)


def _cell(found: tuple[float, float] | None) -> str:
    if found is None:
        return "not reached"
    return f"{formatting.amount(found[0])}, {found[1] / 60:.1f} min"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="run folders, of seeds of one preset")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--show", type=Path, help="JSON file to read")
    parser.add_argument("--from", dest="start", type=float, help="return of the untrained network")
    parser.add_argument("--to", dest="goal", type=float, help="return of the oracle")
    options = parser.parse_args()
    if options.show is None and not (options.runs and options.out):
        parser.error("give RUN... and --out, or --show")
    if options.show and None in (options.start, options.goal):
        parser.error("--show needs --from and --to")
    if options.show:
        print(table(json.loads(options.show.read_text())["seeds"], options.start, options.goal))
        return
    found: dict[str, Any] = {}
    for path in options.runs:
        run = RunDir(path)
        config = run.read_config()
        found[str(config.seed)] = curve(run)
    write_json(options.out, {"preset": config.preset, "seeds": found})


if __name__ == "__main__":
    main()
