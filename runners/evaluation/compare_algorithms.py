"""Methods beside one another: the same problem and the same budget of data for each."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from rlmaml import algorithms
from rlmaml.errors import ConfigError
from runners import formatting
from runners.budget import data_per_task
from runners.config import TrainConfig
from runners.evaluation import baselines, profile
from runners.evaluation.evaluate import evaluate
from runners.io import versions, write_csv, write_json
from runners.presets.overrides import with_algorithm
from runners.run_dir import RunDir

STEPS = {"episodes": (0, 1, 2, 3), "examples": (0, 1, 5, 10)}
"""Inner steps whose scores are tabulated, by the kind of data."""


def compare(
    config: TrainConfig,
    out: Path,
    *,
    names: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0,),
    tasks: int | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train, evaluate and time every method, and write `methods.json` and `methods.csv`.

    A method is trained with the settings that it has there by default
    (`runners.presets.overrides.with_algorithm`), for as many meta-iterations as have the same
    number of examples (or episodes) as `config.iterations` of the default method. One that starts
    from another's run gives half of the data to that. What is trained is kept, in
    OUT/METHOD/seed-S; a comparison that was interrupted goes on.

    Args:
        config: the problem, with the usual method.
        out: the folder of all runs.
        names: methods; all of the table that apply if empty.
        seeds: of the trainings.
        tasks: held-out tasks; as of `rlmaml evaluate` if None.
        quiet: show no progress.

    Returns:
        What `methods.json` holds: `metric`, `steps`, and for each of `methods` the mean and 95 %
        interval after those steps, iterations, cost and settings; reasons by method in
        `refused` and `failed`.

    Raises:
        ConfigError: an unknown method, or runs there that were made with other settings.
    """
    chosen, refused = {}, {}
    for name in names or algorithms.TABLE:
        try:
            chosen[name] = with_algorithm(config, name)
        except ValueError as problem:
            if name in names:
                raise ConfigError(str(problem)) from problem
            refused[name] = str(problem)
    budget = config.iterations * data_per_task(config)
    rows: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for name, its in chosen.items():
        first = its.algorithm_class.starts_from
        share = Fraction(budget, 2 if first else 1)
        before = _for_budget(config, first, share) if first else None
        its = _for_budget(config, name, share)
        try:
            rows[name] = _row(its, before, out / name.replace(":", "-"), seeds, tasks, quiet)
        except FloatingPointError as problem:  # the others can do no better for it
            failed[name] = str(problem)
            print(f"{name}: {problem}", file=sys.stderr, flush=True)
            continue
        print(f"{name}: {_cells(rows[name], rows[name]['metric'])}", file=sys.stderr, flush=True)
    if not rows:
        raise ConfigError(f"No method could be compared. {' '.join(failed.values())}")
    any_row = next(iter(rows.values()))
    result = {
        "preset": config.preset,
        "metric": any_row["metric"],
        "steps": any_row["steps"],
        "tasks": any_row["tasks"],
        "seeds": list(seeds),
        "data_per_task_and_iteration": data_per_task(config),
        "iterations": config.iterations,
        "methods": rows,
        "refused": refused,
        "failed": failed,
        "versions": versions(),
    }
    write_json(out / "methods.json", result)
    header = ("method", "steps", "mean", "ci95")
    write_csv(
        out / "methods.csv",
        header,
        (
            (name, step, mean, ci)
            for name, row in rows.items()
            for step, mean, ci in zip(row["steps"], row["mean"], row["ci95"], strict=True)
        ),
    )
    return result


def _for_budget(config: TrainConfig, name: str, data: Fraction) -> TrainConfig:
    """The run by a method that is as long as to draw so many examples (or episodes) a task."""
    iterations = max(1, round(data / data_per_task(with_algorithm(config, name))))
    # Chosen again, because schedules are made for a number of iterations.
    return with_algorithm(dataclasses.replace(config, iterations=iterations), name)


def _row(
    config: TrainConfig,
    before: TrainConfig | None,
    place: Path,
    seeds: tuple[int, ...],
    tasks: int | None,
    quiet: bool,
) -> dict[str, Any]:
    """One method: trained and evaluated for every seed, timed for the first; or as kept."""
    made_from = {
        "config": config.to_dict(),
        "before": before and before.to_dict(),
        "seeds": list(seeds),
        "tasks": tasks,
    }
    kept = place / "row.json"
    if kept.exists() and (row := json.loads(kept.read_text()))["made_from"] == made_from:
        for name in ("mean", "ci95"):  # JSON has no numbers that are not finite
            row[name] = [math.nan if value is None else value for value in row[name]]
        return row
    steps = STEPS[config.data]
    results, scores, seconds = [], [], []
    for seed in seeds:
        folder = RunDir(place / f"seed-{seed}")
        its = dataclasses.replace(config, seed=seed)
        init = None
        if before is not None:
            init = RunDir(place / f"seed-{seed}-{before.algorithm}")
            start = dataclasses.replace(before, seed=seed)
            baselines.trained(baselines.prepared(init, start), quiet=quiet)
        baselines.trained(baselines.prepared(folder, its), init=init and init.path, quiet=quiet)
        result = evaluate(folder, tasks=tasks, steps=max(steps), quiet=quiet)
        results.append(result)
        metric = result["metric"]
        scores.append([task[metric] for task in result["per_task"]])
        seconds.append(folder.read_metrics()[-1]["seconds"])
    per_task = np.array(scores)[:, :, list(steps)]  # [seeds, tasks, steps]
    varying: Any = per_task.mean(1) if len(seeds) > 1 else per_task[0]  # seeds, or else tasks
    spread = varying.std(0, ddof=1) if len(varying) > 1 else np.zeros(len(steps))
    row = {
        "metric": results[0]["metric"],
        "steps": list(steps),
        "tasks": results[0]["tasks"],
        "mean": per_task.mean((0, 1)).tolist(),
        "ci95": (1.96 * spread / np.sqrt(len(varying))).tolist(),
        "per_seed": per_task.mean(1).tolist(),
        "iterations": config.iterations,
        "iterations_before": 0 if before is None else before.iterations,
        "training_seconds": seconds,
        "inner_steps": config.inner.steps,
        **profile.in_own_process(config),
        "made_from": made_from,
    }
    write_json(kept, row)
    return row


def table(result: dict[str, Any]) -> str:
    """The result as text, a line per method, and the reasons of those that do not apply."""
    metric, names = result["metric"], [*result["methods"], "method"]
    width = max(map(len, names)) + 2
    spread = "seeds" if len(result["seeds"]) > 1 else "tasks"
    head = "".join(f"{formatting.steps(k):>18}" for k in result["steps"])
    lines = [
        f"{metric} on {result['tasks']} held-out tasks of {result['preset']}; ± 95 % over {spread}",
        f"{'method':<{width}}{head}{'iterations':>12}{'it/s':>9}{'peak MB':>9}",
    ]
    for name, row in result["methods"].items():
        lines.append(f"{name:<{width}}{_cells(row, metric)}")
    lines += [f"{name}: does not apply. {why}" for name, why in result["refused"].items()]
    lines += [f"{name}: failed. {why}" for name, why in result["failed"].items()]
    return "\n".join(lines)


def _cells(row: dict[str, Any], metric: str) -> str:
    decimals = formatting.digits(metric, row["mean"])
    scores = "".join(
        f"{f'{mean:.{decimals}f} ± {ci:.{decimals}f}' if np.isfinite(mean) else 'diverged':>18}"
        for mean, ci in zip(row["mean"], row["ci95"], strict=True)
    )
    rate, peak = row["iterations_per_second"], row["peak_memory_mb"]
    speed = f"{rate:.3g}" if rate < 1000 else f"{rate:.0f}"
    return f"{scores}{row['iterations']:>12}{speed:>9}{peak:>9.0f}"
