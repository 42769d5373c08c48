"""What a badly chosen inner step size costs, with and without an algorithm that learns it.

    python -m benchmarks.step_sizes [sinusoid] [--iterations 6000] [--seeds 0 1 2] [--out FILE]

Each algorithm begins with the preset's α, with a hundredth of it and with ten times it. All else is
as `rlmaml compare` has it. Scores are of held-out tasks.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from rlmaml.errors import ConfigError
from runners.errors import TrainingStopped
from runners.evaluation import baselines, statistics
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.measure import measure
from runners.evaluation.trials import STEPS
from runners.io import command, versions, write_json
from runners.presets import PRESETS, with_algorithm
from runners.run_dir import RunDir

ALGORITHMS, FACTORS = ("maml", "alpha-maml", "meta-sgd"), (0.01, 1.0, 10.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", default="sinusoid")
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS)
    parser.add_argument("--iterations", type=int, default=6000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/step-sizes"))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    config = dataclasses.replace(PRESETS[given.preset][1], iterations=given.iterations)
    steps = list(STEPS[config.data])
    result: dict[str, Any] = {"preset": given.preset, "iterations": given.iterations}
    result |= {"seeds": given.seeds, "steps": steps, "algorithms": {}}
    for name in given.algorithms:
        own = with_algorithm(config, name)
        rows = result["algorithms"][name] = {}
        for factor in FACTORS:
            changed = own.changed({"inner.step_size": own.inner.step_size * factor})
            scores, stopped = [], ""
            for seed in given.seeds:
                folder = RunDir(given.runs / name / f"{factor:g}" / f"seed-{seed}")
                seeded = dataclasses.replace(changed, seed=seed)
                try:
                    run = baselines.trained(baselines.prepared(folder, seeded), quiet=True)
                    found = measure(run, EvalConfig(steps=max(steps)), quiet=True)
                except (ConfigError, FloatingPointError, TrainingStopped) as problem:
                    stopped = str(problem)
                    continue
                scores.append(found.scores[found.metric].mean(0)[steps])
            row: dict[str, Any] = {"step_size": changed.inner.step_size, "stopped": stopped}
            if scores:
                per_seed = np.stack(scores)
                mean, half = statistics.over_runs(per_seed, per_seed)
                row |= {"mean": mean.tolist(), "ci95": half.tolist(), "per_seed": per_seed.tolist()}
                cells = "".join(f"{m:>10.3f} ± {h:.3f}" for m, h in zip(mean, half, strict=True))
            else:
                cells = f"  {stopped}"
            rows[f"{factor:g}"] = row
            print(f"{name:<12}α {changed.inner.step_size:<8g}{cells}", flush=True)
    if given.out:
        write_json(given.out, result | {"versions": versions(), "command": command()})


if __name__ == "__main__":
    main()
