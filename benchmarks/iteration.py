"""What a meta-iteration costs, stage by stage, as a multiple of its physics.

    python -m benchmarks.iteration PRESET [--frame-skip 5] [--tasks 40] [--episodes 20] [...]

One process trains the preset, without logs, checkpoints and evaluations. After every iteration
the same simulations are stepped again by `Batch.step` alone (`benchmarks.physics`), which is the
floor of an iteration on this machine. Times are medians over iterations after a warm-up; of ratios,
the median of the ratios of single iterations.

    floor          env steps of the iteration by `Batch.step` alone
    rollouts       the same while policies act: resets, policies, noise, environment, recording
    advantages     baselines and advantages
    adaptation     inner steps between rollouts
    meta-gradient  its value and gradient, and the adapted policies
    curvature      linearisation and products of conjugate gradient
    line search    losses and divergences of candidates
    other          the rest
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.physics import Physics
from rlmaml import stages
from rlmaml.random import Phase
from runners import cost
from runners.build import build
from runners.config import EnvConfig, TrainConfig
from runners.presets import PRESETS
from runners.runfolder import versions
from runners.train import meta_batch

STAGES = ("rollouts", "advantages", "adaptation", "meta-gradient", "curvature", "line search")
WARM_UP = 2


def measure(config: TrainConfig, iterations: int) -> dict[str, Any]:
    """Seconds of each stage, of the whole and of the floor; peak memory in MB."""
    experiment = build(config)
    sampler: Any = experiment.sampler
    physics = Physics(sampler.env)
    state = experiment.algorithm.init(experiment.params)
    rows: list[dict[str, float]] = []
    before = cost.start_watching(experiment.device)
    for iteration in range(WARM_UP + iterations):
        with stages.recorded() as seconds:
            clock = time.perf_counter()
            batch = meta_batch(experiment, config, state.meta, iteration)
            state, metrics = experiment.algorithm.update(state, batch)
            cost.wait_for(experiment.device)
            total = time.perf_counter() - clock
        key = (config.seed, iteration, Phase.ROLLOUT)
        sets = (*batch.support, batch.query)
        floor = sum(physics.seconds(each, key, k) for k, each in enumerate(sets))
        if not physics.ended_like(sampler.env):
            raise AssertionError("The bare simulations did not pass through the same states.")
        row = {name: seconds[name] for name in STAGES}
        row["other"] = total - sum(row.values())
        row |= {"total": total, "floor": floor, "total/floor": total / floor}
        row["env_steps"] = sum(float(each.mask.sum()) for each in sets)
        row["candidates"] = metrics.get("line_search_steps", 0)
        rows.append(row)
    peak = cost.peak(experiment.device)
    experiment.close()
    rows = rows[WARM_UP:]
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    return {**medians, "peak_memory_mb": (peak - before) / 1e6, "iterations": len(rows)}


def configured(options: argparse.Namespace) -> TrainConfig:
    """A preset at a size."""
    config = PRESETS[options.preset][1]
    kwargs = dict(config.env.kwargs)
    if options.frame_skip is not None:
        kwargs["frame_skip"] = options.frame_skip
    config = replace(config, env=EnvConfig(config.env.id, kwargs))
    for name in ("tasks", "episodes", "horizon", "chunk_size", "threads", "device"):
        if getattr(options, name) is not None:
            config = replace(config, **{name: getattr(options, name)})
    changed = {
        "inner.steps": options.steps,
        "policy.hidden": options.hidden and tuple(options.hidden),
        "trust_region.fisher_fraction": options.fisher_fraction,
    }
    return config.changed({name: value for name, value in changed.items() if value is not None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset")
    for name in ("tasks", "episodes", "horizon", "steps", "frame-skip", "chunk-size", "threads"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--hidden", type=int, nargs="+")
    parser.add_argument("--fisher-fraction", type=float)
    parser.add_argument("--device")
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    config = configured(options)
    result = {
        "config": config.to_dict(),
        **measure(config, options.iterations),
        "versions": versions(),
    }
    for name in ("floor", *STAGES, "other", "total"):
        print(f"{name:<15}{result[name]:>8.2f} s")
    print(f"{'total/floor':<15}{result['total/floor']:>8.2f}")
    print(f"{'peak memory':<15}{result['peak_memory_mb']:>8.0f} MB")
    if options.out is not None:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
