"""Runs beside their baselines, on the same held-out tasks with the same random draws."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlmaml.errors import ConfigError
from runners import formatting
from runners.evaluation import evaluate, statistics
from runners.evaluation.baselines import Baseline, plan, trained
from runners.evaluation.grouping import by_method, check_place, check_runs, common_folder
from runners.io import versions, write_csv, write_json
from runners.run_dir import RunDir

Floats = NDArray[np.float64]


def compare(
    folders: list[RunDir],
    *,
    against: tuple[Baseline, ...] = (),
    out: Path | None = None,
    quiet: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Evaluate runs and their baselines, and write `comparison.json` and `comparison.csv`.

    Args:
        folders: runs of one family. Those that differ in nothing but the seed are runs of one
            method; other settings make another method, named by them.
        against: baselines of the first method's runs, trained in their folders where they are not
            there yet.
        out: folder for the files; the run's, or what the runs lie in together, if None.
        settings: of `runners.evaluate.evaluate`.

    Returns:
        What `comparison.json` holds: for each of `methods` the runs, `scores` [R, N, K+1], mean and
        interquartile mean over runs and tasks with 95 % intervals, each run's mean, the share of
        the gap to the oracle that is closed, and environment steps of training.

    Raises:
        ConfigError: runs of several families, a folder that holds another comparison, and all that
            training and evaluating raise.
    """
    configs = [folder.read_config() for folder in folders]
    check_runs(folders, configs)
    out = out or common_folder([folder.path for folder in folders])
    check_place(out, folders)
    runs = by_method(folders, configs)
    main = next(iter(runs))
    checkpoint, steps = settings.pop("checkpoint", None), settings.pop("steps", None)
    if checkpoint not in (None, Path("best")) and len(folders) > 1:
        raise ConfigError(
            f"--checkpoint {checkpoint} is one run's, and several are compared: use `best`, or the "
            "newest."
        )
    if configs[0].data == "examples" and settings.get("queries") is None:
        settings["queries"] = configs[0].examples.queries  # the same for all

    def results(places: list[RunDir], **own: Any) -> list[dict[str, Any]]:
        return [_evaluate(place, quiet=quiet, **own, **settings) for place in places]

    # What is asked for is found out to be possible before hours go into baselines.
    device = settings.get("device")
    plans = {name: [plan(each, name, device=device) for each in runs[main]] for name in against}
    found = {
        name: results(places, steps=steps, checkpoint=checkpoint) for name, places in runs.items()
    }
    for name, planned in plans.items():
        runs[name] = [trained(each, quiet=quiet) for each in planned]
        found[name] = results(runs[name], steps=0 if name == "oracle" else steps)
    first = found[main][0]
    metric, tasks = first["metric"], [task["task"] for task in first["per_task"]]
    scores = {
        name: np.array([[task[metric] for task in run["per_task"]] for run in evaluations], float)
        for name, evaluations in found.items()
    }
    finite = {name: statistics.finite(values) for name, values in scores.items()}
    # Its score before adaptation counts as none of the gap to the oracle closed.
    reference = "random" if "random" in against else main
    result = {
        "metric": metric,
        "note": first["note"],
        "preset": first["preset"],
        "steps": first["steps"],
        "tasks": tasks,
        **{
            name: first[name]
            for name in (
                *("episodes", "shots", "queries", "step_size", "later_step_size"),
                *("deterministic", "seed"),
            )
        },
        "checkpoint": None if checkpoint is None else checkpoint.name,
        "reference": reference if "oracle" in against else None,
        "methods": {
            name: {
                "runs": [_relative(place.path, out) for place in runs[name]],
                "seeds": [place.read_config().seed for place in runs[name]],
                **{
                    field: [run[field] for run in found[name]]
                    for field in ("iteration", "train_env_steps", "step_size", "later_step_size")
                },
                **_summary(finite[name]),
                **_gap(name, finite, reference),
                "scores": scores[name].tolist(),
            }
            for name in runs
        },
        "versions": versions(),
    }
    write_json(out / "comparison.json", result)
    header = ("method", "run", "seed", "task", "steps", metric)
    write_csv(out / "comparison.csv", header, _rows(result))
    return result


def _evaluate(place: RunDir, **settings: Any) -> dict[str, Any]:
    try:
        result = evaluate.evaluate(place, **settings)
    except FloatingPointError as problem:
        raise FloatingPointError(f"{place.path}: {problem}") from problem
    planned = place.read_config().iterations
    if result["iteration"] < planned and settings.get("checkpoint") is None:
        print(
            f"{place.path} has done {result['iteration']} of its {planned} iterations; baselines "
            "have the budget of all of them.",
            file=sys.stderr,
        )
    return result


def _relative(path: Path, start: Path) -> str:
    return Path(os.path.relpath(path.resolve(), start.resolve())).as_posix()


def _summary(scores: Floats) -> dict[str, Any]:
    """Of scores [R, N, K+1]."""
    summary: dict[str, Any] = {"run_means": scores.mean(1).tolist()}
    for name, statistic in (
        ("mean", statistics.mean),
        ("iqm", statistics.interquartile_mean),
    ):
        summary[name] = statistic(scores).tolist()
        for suffix, whole_runs in (("ci95", False), ("ci95_whole_runs", True)):
            low, high = statistics.bootstrap(statistic, scores, whole_runs=whole_runs)
            summary[f"{name}_{suffix}"] = [low.tolist(), high.tolist()]
    return summary


def _gap(name: str, scores: dict[str, Floats], reference: str) -> dict[str, Any]:
    """The share of the gap to the oracle that a method has closed, and its interval."""
    if "oracle" not in scores or name == "oracle":
        return {"gap_closed": None}
    arrays = scores[name], scores[reference][..., :1], scores["oracle"]
    gap = {"gap_closed": statistics.gap_closed(*arrays).tolist()}
    if len(arrays[0]) == len(arrays[1]):  # runs can be drawn alike
        low, high = statistics.bootstrap(statistics.gap_closed, *arrays)
        gap["gap_closed_ci95"] = [low.tolist(), high.tolist()]
    return gap


def _rows(result: dict[str, Any]) -> Iterator[tuple]:
    """A row per method, run, task and step."""
    for name, method in result["methods"].items():
        runs = zip(method["runs"], method["seeds"], method["scores"], strict=True)
        for run, seed, tasks in runs:
            for task, values in zip(result["tasks"], tasks, strict=True):
                for step, value in enumerate(values):
                    yield name, run, seed, evaluate.shown(task), step, value


def table(result: dict[str, Any]) -> str:
    """The result as text: per method its mean and interquartile mean with their intervals."""
    runs = max(len(method["runs"]) for method in result["methods"].values())
    many = f", {runs} runs" if runs > 1 else ""
    note = f" ({result['note']})" if result["note"] else ""
    title = f"{result['metric']} on {len(result['tasks'])} held-out tasks{many}{note}"
    values = [value for method in result["methods"].values() for value in method["mean"]]
    digits = formatting.digits(result["metric"], values)

    def interval(values: list[float], ends: list[list[float]]) -> list[str]:
        return [
            f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
            if np.isfinite(value)
            else "diverged"
            for value, low, high in zip(values, *ends, strict=True)
        ]

    rows = [(title, [formatting.steps(k) for k in result["steps"]])]
    for name, method in result["methods"].items():
        rows.append((f"{name}: mean", interval(method["mean"], method["mean_ci95"])))
        rows.append(("  interquartile mean", interval(method["iqm"], method["iqm_ci95"])))
        if len(method["runs"]) > 1:
            rows += [
                (f"  seed {seed}", [f"{value:.{digits}f}" for value in means])
                for seed, means in zip(method["seeds"], method["run_means"], strict=True)
            ]
        if method["gap_closed"] is not None:
            rows.append(
                (
                    "  gap to oracle closed",
                    [f"{v:.0%}" if np.isfinite(v) else "–" for v in method["gap_closed"]],
                )
            )
        trained = np.mean(method["train_env_steps"]) / 1e6
        what = "env steps" if result["episodes"] else "examples"
        rows.append((f"  trained on {trained:.1f} million {what}", []))
    width = max(len(label) for label, _ in rows) + 2
    column = max(len(cell) for _, cells in rows for cell in cells) + 2
    return "\n".join(
        (f"{label:<{width}}" + "".join(f"{cell:>{column}}" for cell in cells)).rstrip()
        for label, cells in rows
    )
