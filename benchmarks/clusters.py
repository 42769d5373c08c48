"""The time of an iteration on more cores than there are here, from parts measured here.

    python -m benchmarks.clusters PRESET [--option NAME=JSON ...] [--out FILE]

An iteration of P processes, a core and N/P tasks each, takes

    rollouts(N/P) + update(N/P) + sums(P)

The first two are measured at several numbers of tasks in one process with one thread, and lines
are fitted to them. Sums are measured on this machine's loopback: of a single number between 2, 4
and 8 processes, and a line over P is fitted, since gloo sends a sum around a ring; and of as many
numbers as the preset has parameters between 2, where each has a core. What that takes more is the
sending of 4 bytes each, of which a ring of P sends 2 (P - 1)/P times as many. Processes beyond the
cores wait for each other's turns, so sums are rather too slow here; a network is slower than
loopback. What is printed for more cores than there are is this formula, not a measurement. That
tasks take unequal time, for which the others wait, is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import markdown, torchrun
from benchmarks.processes import chosen, measure
from rlmaml import processes
from rlmaml.config import TrainConfig
from runners.io import versions, write_json

SHARES = (1, 2, 5, 10, 20)
COUNTS = (2, 4, 8)
CORES = (2, 16, 64, 1024)
TASKS = (20, 40, 80, 160, 1024, 4096)
REPEATS = 50
WORTH = 0.8


def seconds_of_sum(numbers: int) -> float:
    """The median time of a sum of so many numbers over these processes."""
    values = torch.zeros(1, numbers)
    took = []
    for _ in range(REPEATS):
        processes.wait()
        began = time.perf_counter()
        processes.mean(values)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def sums(count: int, numbers: int) -> dict[str, float]:
    """Those times between `count` processes, started by torchrun."""
    return torchrun.answer(count, "benchmarks.clusters", "--numbers", str(numbers))


def parts(config: TrainConfig, iterations: int) -> dict[str, dict[str, float]]:
    """Seconds of rollouts and of the update of one process, by its number of tasks."""
    found = {}
    for tasks in SHARES:
        measured = measure(config.changed({"tasks": tasks}), iterations)
        update = measured["seconds"] - measured["rollouts"]
        found[str(tasks)] = {
            "rollouts": measured["rollouts"],
            "update": update,
            "products": measured["products"],
            "parameters": measured["parameters"],
        }
        print(tasks, found[str(tasks)], flush=True)
    return found


def line(points: dict[str, float]) -> tuple[float, float]:
    """(start, slope) of the line through these points: least squares of relative errors."""
    x = np.array([float(each) for each in points])
    y = np.array(list(points.values()))
    slope, start = np.polyfit(x, y, 1, w=1 / y)
    return max(float(start), 0.0), float(slope)


def forecast(measured: dict[str, Any]) -> Callable[[int, int], float]:
    """(tasks, cores) -> seconds of an iteration."""
    alone, shared = measured["one_process"], measured["sums"]
    fits = {
        "rollouts": line({k: row["rollouts"] for k, row in alone.items()}),
        "update": line({k: row["update"] for k, row in alone.items()}),
        "number": line({k: row["number"] for k, row in shared.items()}),
    }
    sending = shared["2"]["vector"] - shared["2"]["number"]
    products = alone[str(SHARES[-1])]["products"]

    def at(name: str, x: float) -> float:
        return fits[name][0] + fits[name][1] * x

    def seconds(tasks: int, cores: int) -> float:
        most = -(-tasks // cores)  # the process that has most, for which the others wait
        alone = at("rollouts", most) + at("update", most)
        if cores == 1:
            return alone
        vector = at("number", cores) + sending * 2 * (cores - 1) / cores
        # A gradient and the products; two numbers for each of two candidates, and for metrics.
        return alone + (1 + products) * vector + 8 * at("number", cores)

    return seconds


def derived(measured: dict[str, Any]) -> dict[str, Any]:
    """Times on more cores, and the tasks from which on they are worth it."""
    seconds = forecast(measured)
    table = {
        str(tasks): {
            str(cores): {
                "seconds": seconds(tasks, cores),
                "times": seconds(tasks, 1) / seconds(tasks, cores),
            }
            for cores in CORES
            if cores <= tasks
        }
        for tasks in TASKS
    }
    worth = {
        str(cores): next(
            tasks
            for tasks in range(cores, 10**7, cores)
            if seconds(tasks, 1) / seconds(tasks, cores) >= WORTH * cores
        )
        for cores in CORES
    }
    return {"forecast": table, f"tasks_for_{WORTH}_of_the_cores": worth}


def table(forecasts: dict[str, dict[str, dict[str, float]]]) -> str:
    """Multiples of one process, in Markdown: a row for each number of tasks."""

    def cell(times: float) -> str:
        return f"{times:.1f}" if times < 16 else f"{times:.0f}"

    rows = []
    for tasks, row in forecasts.items():
        times = [cell(row[str(cores)]["times"]) if str(cores) in row else "" for cores in CORES]
        rows.append([f"{int(tasks):,}", *times])
    return markdown.table(["tasks", "2 cores", *(f"{cores:,}" for cores in CORES[1:])], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", help="what to run")
    parser.add_argument("--iterations", type=int, default=5, help="measured of each size")
    parser.add_argument("--option", action="append", default=[], help="NAME=JSON of the preset")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--numbers", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.preset is None and options.numbers is None:
        parser.error("which PRESET?")
    if options.numbers is not None:
        processes.join(300)
        found = {"vector": seconds_of_sum(options.numbers), "number": seconds_of_sum(1)}
        if processes.is_first():
            print(json.dumps(found))
        processes.leave()
        return
    config = chosen(options.preset, options.option)
    alone = parts(config, options.iterations)
    numbers = int(alone[str(SHARES[-1])]["parameters"])
    measured = {
        "command": f"python -m benchmarks.clusters {' '.join(sys.argv[1:])}",
        "versions": versions(),
        "cores": os.cpu_count(),
        "preset": options.preset,
        "sizes": {"episodes": config.episodes, "horizon": config.horizon},
        "one_process": alone,
        "sums": {str(count): sums(count, numbers) for count in COUNTS},
    }
    found = derived(measured)
    print(table(found["forecast"]))
    if options.out:
        write_json(options.out, measured | found)


if __name__ == "__main__":
    main()
