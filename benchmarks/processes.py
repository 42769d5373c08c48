"""Meta-iterations/s of several processes on one machine, a thread each, beside one process.

    python -m benchmarks.processes PRESET [--processes 2] [--threads 1] [--option NAME=JSON ...]
        [--out FILE]

`--threads` are those of the one process: with as many as there are processes, the same cores work
either way.

The two kinds take turns, each started by torchrun, and the first turn is not counted. Of a turn
come the median seconds of an iteration (collect and update), of its parts that are sums of all
processes ("communication", where also those wait that are done first), and the bytes of those sums.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import torchrun
from rlmaml import processes, profiling, tree
from rlmaml.config import TrainConfig
from runners import torch_setup
from runners.environments import build_experiment
from runners.io import versions, write_json
from runners.presets import PRESETS
from runners.training.train import meta_batch

WARM_UP = 2


def measure(config: TrainConfig, iterations: int) -> dict[str, Any]:
    """Seconds and bytes of an iteration of this process, with the others."""
    processes.join(300)
    torch_setup.configure(config)
    experiment = build_experiment(config)
    algorithm = experiment.algorithm
    state = algorithm.initial_state(algorithm.init_meta(experiment.params))
    rows: list[dict[str, float]] = []
    for iteration in range(WARM_UP + iterations):
        processes.wait()
        began, sent = time.perf_counter(), processes.sent()
        with profiling.recorded() as parts:
            batch = meta_batch(experiment, config, state.meta, iteration)
            state, metrics = algorithm.update(state, batch)
        row = {"seconds": time.perf_counter() - began, "bytes": processes.sent() - sent, **parts}
        rows.append(row | {"products": metrics.get("cg_iterations", 0)})
    experiment.close()
    medians = {
        name: statistics.median(row.get(name, 0.0) for row in rows[WARM_UP:]) for name in rows[-1]
    }
    return medians | {"parameters": len(tree.ravel(state.meta)[0])}


def chosen(preset: str, options: list[str], threads: int = 1) -> TrainConfig:
    """A preset with so many threads and with options NAME=JSON."""
    changes = dict(each.split("=", 1) for each in options)
    given: dict[str, Any] = {name: json.loads(value) for name, value in changes.items()}
    return PRESETS[preset].config.changed({"threads": threads, **given})


def turn(count: int, words: list[str], threads: int) -> dict[str, Any]:
    """One turn of `count` processes: what the first of them measured."""
    words = [*words, "--threads", str(threads), "--worker"]
    return torchrun.answer(count, "benchmarks.processes", *words, threads=threads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", help="what to run")
    parser.add_argument("--processes", type=int, default=2, help="beside one")
    parser.add_argument("--threads", type=int, default=1, help="of the one process")
    parser.add_argument("--iterations", type=int, default=5, help="measured in a turn")
    parser.add_argument("--turns", type=int, default=3, help="counted, of each")
    parser.add_argument("--option", action="append", default=[], help="NAME=JSON of the preset")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    config = chosen(options.preset, options.option, options.threads)
    if options.worker:
        measured = measure(config, options.iterations)
        if processes.is_first():
            print(json.dumps(measured))
        processes.leave()
        return
    words = [options.preset, "--iterations", str(options.iterations)]
    for each in options.option:
        words += ["--option", each]
    found: dict[int, list[dict[str, Any]]] = {1: [], options.processes: []}
    for number in range(1 + options.turns):
        for count, turns in found.items():
            measured = turn(count, words, options.threads if count == 1 else 1)
            if number:
                turns.append(measured)
    ratios = [
        alone["seconds"] / shared["seconds"]
        for alone, shared in zip(found[1], found[options.processes], strict=True)
    ]
    result = {
        "command": f"python -m benchmarks.processes {' '.join(sys.argv[1:])}",
        "versions": versions(),
        "cores": os.cpu_count(),
        "preset": options.preset,
        "sizes": [config.tasks, config.episodes, config.horizon],
        "processes": options.processes,
        "threads": options.threads,
        "turns": {str(count): turns for count, turns in found.items()},
        "speedups": ratios,
        "speedup": statistics.median(ratios),
    }
    print(json.dumps(result, indent=1))
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
