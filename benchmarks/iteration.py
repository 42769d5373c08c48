"""Cost of a meta-iteration, stage by stage, as a multiple of its physics.

    python -m benchmarks.iteration PRESET [--frame-skip 5] [--tasks 40] [--plain] [--out FILE] [...]

One process trains the preset, without logs, checkpoints and evaluations. After every iteration
the same simulations are stepped again by `Batch.step` alone (`benchmarks.physics`), which is the
floor of an iteration on this machine. Times are medians over iterations after a warm-up; of ratios,
the median of the ratios of single iterations.

    floor          env steps of the iteration by `Batch.step` alone
    rollouts       the same while policies act: resets, policies, noise, environment, recording
    advantages     baselines and advantages
    adaptation     inner steps between rollouts
    meta-gradient  its value and gradient, and the adapted policies
    curvature      linearization and products of conjugate gradient
    line search    losses and divergences of candidates
    other          the rest

With --plain the same size is run by `benchmarks.plain` too, with the settings that it knows. It
writes meta-iterations as the older packages do, with curvature on all data and with the preset's
part of them, and the two are compared on one meta-batch in float64 first. It samples by the faster
of its two ways.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.physics import Physics
from benchmarks.plain import NEAREST, Plain, same_update, update
from rlmaml import profiling
from rlmaml.config import EnvConfig, TrainConfig
from rlmaml.rng import Phase
from runners.environments import build_experiment
from runners.evaluation import profile
from runners.io import versions, write_json
from runners.presets import PRESETS
from runners.training.train import meta_batch

STAGES = ("rollouts", "advantages", "adaptation", "meta-gradient", "curvature", "line search")
WARM_UP = 2


def measure(config: TrainConfig, iterations: int) -> dict[str, Any]:
    """Seconds of each stage, of the whole and of the floor; peak memory in MB."""
    if config.data != "episodes" or config.inner.hessian != "support":
        raise SystemExit(
            "The floor is that of episodes, and of inner steps without data of their own."
        )
    experiment = build_experiment(config)
    sampler: Any = experiment.sampler
    physics = Physics(sampler.env)
    state = experiment.algorithm.init(experiment.params)
    rows: list[dict[str, float]] = []
    before = profile.start_watching(experiment.device)
    for iteration in range(WARM_UP + iterations):
        with profiling.recorded() as seconds:
            clock = time.perf_counter()
            batch = meta_batch(experiment, config, state.meta, iteration)
            state, metrics = experiment.algorithm.update(state, batch)
            profile.wait_for(experiment.device)
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
    peak = profile.peak(experiment.device)
    experiment.close()
    physics.close()
    rows = rows[WARM_UP:]
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    return {**medians, "peak_memory_mb": (peak - before) / 1e6, "iterations": len(rows)}


def measure_plain(config: TrainConfig, iterations: int) -> dict[str, Any]:
    """Seconds of an iteration of the plain implementation.

    Returns:
        `sampling`, seconds by either way; `iteration`, medians of whole iterations by the faster
        one, by what was spent; `updates`, seconds by how curvature products are made and by the
        data that they are on, medians of three. On a part of the data its line search may take more
        candidates than ours, which corrects a step's length.
    """
    experiment = build_experiment(config)
    params = experiment.params
    experiment.close()
    sampling: dict[str, float] = {}
    for way in ("sync", "processes"):
        runner = Plain(config, way)
        taken = [runner.collect(params, i)[2]["sampling"] for i in range(3)]
        runner.close()
        sampling[way] = statistics.median(taken[1:])
    faster: Any = min(sampling, key=lambda way: sampling[way])
    fraction = config.trust_region.fisher_fraction
    updates: dict[str, float] = {}
    runner = Plain(config, faster)
    support, query, _ = runner.collect(params, 0)
    for curvature in ("redone", "kept"):
        for name, share in (("all", 1.0), (f"{fraction:g}", fraction)):
            taken = []
            for _ in range(3):
                clock = time.perf_counter()
                update(params, support, query, config, curvature=curvature, fraction=share)
                taken.append(time.perf_counter() - clock)
            updates[f"{curvature}, {name}"] = statistics.median(taken)
    runner.close()
    best: Any = min(("redone", "kept"), key=lambda way: updates[f"{way}, all"])
    runner = Plain(config, faster, curvature=best)
    rows = []
    for iteration in range(1 + iterations):
        params, seconds = runner.iteration(params, iteration)
        rows.append(seconds | {"total": sum(seconds.values())})
    runner.close()
    medians = {name: statistics.median(row[name] for row in rows[1:]) for name in rows[0]}
    return {
        "sampling": sampling,
        "iteration": medians,
        "curvature": best,
        "updates": updates,
        "iterations": iterations,
    }


def compared(config: TrainConfig, ours: dict[str, Any], iterations: int) -> dict[str, Any]:
    """Measure how many times as fast as the plain implementation it is, with its figures."""
    small = replace(config, tasks=4, episodes=5, horizon=50)
    result: dict[str, Any] = {"same_update": same_update(small)}
    print(f"\nlargest difference of an update in float64: {result['same_update']:.0e} of its size")
    whole = config.changed({"trust_region.fisher_fraction": 1.0})
    all_data = measure(whole, iterations)
    del all_data["peak_memory_mb"]  # this process has held more before
    result["ours, curvature on all"] = all_data
    result["plain"] = plain = measure_plain(config, iterations)
    total, fraction = plain["iteration"]["total"], f"{config.trust_region.fisher_fraction:g}"
    update = min(plain["updates"][f"{way}, {fraction}"] for way in ("redone", "kept"))
    part = total - plain["iteration"]["update"] + update
    result["ratio"] = ratio = {
        "plain on all / ours": total / ours["total"],
        "both on all": total / all_data["total"],
        "both on a part": part / ours["total"],
    }
    for way, seconds in plain["sampling"].items():
        print(f"plain sampling, {way:<21}{seconds:>8.2f} s")
    for name, seconds in plain["updates"].items():
        print(f"plain update, {name:<23}{seconds:>8.2f} s")
    for name, seconds in plain["iteration"].items():
        print(f"plain iteration, {name:<20}{seconds:>8.2f} s")
    print(f"{'ours, curvature on all data':<37}{all_data['total']:>8.2f} s")
    for name, value in ratio.items():
        print(f"times as fast, {name:<22}{value:>8.2f}")
    return result


def configured(options: argparse.Namespace) -> TrainConfig:
    """A preset at a size."""
    config = PRESETS[options.preset][1]
    kwargs = dict(config.env.kwargs)
    if options.frame_skip is not None:
        kwargs["frame_skip"] = options.frame_skip
    config = replace(config, env=EnvConfig(config.env.id, kwargs))
    for name in ("tasks", "episodes", "horizon", "threads", "device"):
        if getattr(options, name) is not None:
            config = replace(config, **{name: getattr(options, name)})
    if (size := options.chunk_size) is not None:
        config = replace(config, chunk_size=None if size == "all" else int(size))
    changed = {
        "inner.steps": options.steps,
        "policy.hidden": options.hidden and tuple(options.hidden),
        "trust_region.fisher_fraction": options.fisher_fraction,
    }
    if options.plain:
        changed |= NEAREST
    return config.changed({name: value for name, value in changed.items() if value is not None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset")
    for name in ("tasks", "episodes", "horizon", "steps", "frame-skip", "threads"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--chunk-size", help="a number, or all")
    parser.add_argument("--hidden", type=int, nargs="+")
    parser.add_argument("--fisher-fraction", type=float)
    parser.add_argument("--device")
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    config = configured(options)
    ours = measure(config, options.iterations)
    result = {"config": config.to_dict(), **ours, "versions": versions()}
    for name in ("floor", *STAGES, "other", "total"):
        print(f"{name:<15}{result[name]:>8.2f} s")
    print(f"{'total/floor':<15}{result['total/floor']:>8.2f}")
    print(f"{'peak memory':<15}{result['peak_memory_mb']:>8.0f} MB")
    if options.plain:
        result |= compared(config, ours, options.iterations)
    if options.out is not None:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
