"""Time and memory of a meta-iteration against its sizes.

    python -m benchmarks.scaling [--out docs/results/performance]
    python -m benchmarks.scaling --large     # to 500 tasks of 20 episodes of 200 steps

`time`: `benchmarks.iteration` on half-cheetah-vel at frame_skip 1, with one size changed at a time,
each in a process of its own. `memory`: what a meta-gradient holds at most beyond its data, by
`chunk_size`, and what linearized curvature holds, by the share of the data that it is on; these too
in processes of their own. Writes scaling.json, time.png and memory.png.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from torch.profiler import ProfilerActivity
from torch.profiler import profile as torch_profile

from rlmaml import tree
from rlmaml.config import TrainConfig
from rlmaml.objective import fisher_product, meta_gradient, reference
from runners.environments import build_experiment
from runners.evaluation import profile
from runners.io import versions, write_json
from runners.presets import PRESETS
from runners.training.train import meta_batch

PRESET = "half-cheetah-vel"
BASE = {"tasks": 40, "episodes": 20, "horizon": 100, "steps": 1, "hidden": 100}
SIZES = {
    "tasks": (10, 20, 40, 80, 160),
    "episodes": (5, 10, 20, 40, 80),
    "horizon": (25, 50, 100, 200, 400),
    "steps": (1, 2, 3, 4),
    "hidden": (64, 128, 256, 512),
}
NAMES = {
    "tasks": "tasks N",
    "episodes": "episodes B",
    "horizon": "time steps H",
    "steps": "inner steps K",
    "hidden": "units of each of two layers",
}
GROWING = ("total", "rollouts", "curvature", "peak_memory_mb")
LINES = ("total", "floor", "rollouts", "meta-gradient", "curvature", "line search")
LARGE = (62, 125, 250, 500)
"""Tasks, of 20 episodes of 200 steps."""
TASKS, CHUNKS, FRACTIONS = (10, 20, 40, 80, 160), (1, 4, 16), (0.05, 0.1, 0.2)


def times(sizes: dict[str, int], device: str, iterations: int) -> dict[str, Any]:
    """Medians of `benchmarks.iteration` at these sizes."""
    options = {**sizes, "hidden": (sizes["hidden"],) * 2}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.iteration", PRESET, "--out", str(out)]
        command += ["--frame-skip", "1", "--device", device, "--iterations", str(iterations)]
        for name, value in options.items():
            values = value if isinstance(value, tuple) else (value,)
            command += [f"--{name}", *map(str, values)]
        subprocess.run(command, check=True, capture_output=True)
        result = json.loads(out.read_text())
    return {name: result[name] for name in (*LINES, "adaptation", "advantages", "peak_memory_mb")}


def timed(sizes: dict[str, int], device: str, iterations: int) -> dict[str, Any]:
    """`times` with some sizes other than those of `BASE`, printed."""
    row = times({**BASE, **sizes}, device, iterations)
    cells = "".join(f"{line} {row[line]:.3f}  " for line in LINES)
    print(f"{sizes}  {cells}{row['peak_memory_mb']:.0f} MB", flush=True)
    return row


def held(what: str, tasks: int, by: float, device: str) -> float:
    """MB that one of the two holds at most, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--device", device]
    command += ["--held", what, str(tasks), str(by)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def hold(config: TrainConfig, what: str, by: float) -> float:
    """The same, in this process."""
    if what == "gradient":
        config = replace(config, chunk_size=int(by))
    experiment = build_experiment(config)
    state = experiment.algorithm.init(experiment.params)
    batch = meta_batch(experiment, config, state.meta, 0)
    experiment.close()
    objective = experiment.algorithm.objective(state)
    ref = reference(objective, state.meta, batch)
    v = torch.ones_like(tree.ravel(state.meta)[0])

    def run() -> None:
        if what == "gradient":
            meta_gradient(objective, state.meta, batch)
        else:
            fisher_product(objective, state.meta, batch, ref, fraction=by)(v)

    return allocated(run, experiment.device) / 1e6


def allocated(run: Callable[[], None], device: torch.device) -> int:
    """Bytes that tensors take at most beyond those before, by the allocator's own account."""
    if device.type == "cuda":
        before = profile.start_watching(device)
        run()
        return profile.peak(device) - before
    with torch_profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events: Any = profiler.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(itertools.accumulate(size for _, size in changes))


def slope(x: Any, y: Any) -> float:
    """Slope of y against x on logarithmic axes, over the larger half of the sizes."""
    half = len(x) // 2
    return float(np.polyfit(np.log(x[half:]), np.log(y[half:]), 1)[0])


def draw(result: dict[str, Any], out: Path) -> None:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(SIZES), figsize=(4 * len(SIZES), 4), layout="constrained")
    for axis, (name, rows) in zip(axes, result["time"].items(), strict=True):
        x = [int(size) for size in rows]
        for line in LINES:
            y = [row[line] for row in rows.values()]
            label = f"{line} ({slope(x, y):.2f})"
            axis.loglog(x, y, "o-", label=label, lw=2.5 if line == "total" else 1.2)
        axis.set_xlabel(NAMES[name])
        axis.set_xticks(x, x)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, title="slope at the right", title_fontsize=7)
    axes[0].set_ylabel("seconds per iteration")
    figure.savefig(out / "time.png", dpi=110)
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    titles = {"gradient": "meta-gradient, by chunk_size", "curvature": "curvature, by its share"}
    for axis, (what, title) in zip(axes, titles.items(), strict=True):
        for by, row in result["memory"][what].items():
            axis.loglog([int(n) for n in row], list(row.values()), "o-", label=by)
        axis.set_title(title)
        axis.set_xlabel(NAMES["tasks"])
        axis.set_xticks(TASKS, TASKS)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[0].set_ylabel("MB held at most")
    figure.savefig(out / "memory.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("docs/results/performance"))
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--held", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.held:
        what, tasks, by = options.held
        config = PRESETS[PRESET][1]
        sizes = {"tasks": int(tasks), "episodes": BASE["episodes"], "horizon": BASE["horizon"]}
        print(hold(replace(config, device=options.device, **sizes), what, float(by)))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    if options.large:
        rows = {str(n): timed({"tasks": n, "horizon": 200}, options.device, 1) for n in LARGE}
        growth = {name: slope(LARGE, [row[name] for row in rows.values()]) for name in GROWING}
        print("slopes: " + "  ".join(f"{name} {value:.2f}" for name, value in growth.items()))
        found = {"tasks": rows, "slopes": growth, "base": {**BASE, "horizon": 200}}
        write_json(options.out / "growth.json", found | {"versions": versions()})
        return
    result: dict[str, Any] = {"time": {}, "memory": {}, "base": BASE, "versions": versions()}
    for what, values in (("gradient", CHUNKS), ("curvature", FRACTIONS)):
        rows = result["memory"][what] = {}
        for by in values:
            rows[str(by)] = {str(n): held(what, n, by, options.device) for n in TASKS}
            cells = "".join(f"{value:>8.0f}" for value in rows[str(by)].values())
            print(f"{what:<10}{by:>6}{cells} MB at N = {', '.join(map(str, TASKS))}", flush=True)
    for name, sizes in SIZES.items():
        rows = result["time"][name] = {}
        for size in sizes:
            rows[str(size)] = timed({name: size}, options.device, options.iterations)
    write_json(options.out / "scaling.json", result)
    draw(result, options.out)


if __name__ == "__main__":
    main()
