"""Learning curves of runs as one small file.

    python -m benchmarks.curves RUN... --out FILE

The file has, by seed, env steps, seconds and the returns before and after the last inner step of
each iteration, of training. `benchmarks.presets` makes a table of how soon they come to shares of
the way to the oracle.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

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


def cells(curve: dict[str, list[float]], start: float, goal: float) -> list[str]:
    """Env steps and minutes until a curve is at `SHARES` of the way between two returns."""
    return [_cell(reached(curve, start + share * (goal - start))) for share in SHARES]


def _cell(found: tuple[float, float] | None) -> str:
    if found is None:
        return "not reached"
    return f"{formatting.amount(found[0])}, {found[1] / 60:.1f} min"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, of seeds of one preset")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for path in options.runs:
        run = RunDir(path)
        config = run.read_config()
        found[str(config.seed)] = curve(run)
    write_json(options.out, {"preset": config.preset, "seeds": found})


if __name__ == "__main__":
    main()
