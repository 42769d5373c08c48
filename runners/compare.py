"""Runs beside their baselines, on the same held-out tasks with the same random draws."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runners import evaluate, statistics
from runners.baselines import Baseline, baseline_run
from runners.config import TrainConfig, flat
from runners.errors import UsageError
from runners.runfolder import RunFolder, versions, write_csv, write_json

Floats = NDArray[np.float64]
META = "meta-trained"


def compare(
    folders: list[RunFolder],
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
        UsageError: runs of several families or metrics, and all that training and evaluating raise.
    """
    configs = [folder.read_config() for folder in folders]
    families = {(config.env.id, str(config.env.kwargs), config.data) for config in configs}
    if len(families) > 1:
        raise UsageError(
            "Runs are compared on the same tasks, but these have several families: "
            f"{', '.join(sorted({config.env.id for config in configs}))} with other arguments or "
            "data. Evaluate them one by one."
        )
    runs = by_method(folders, configs)
    main = next(iter(runs))
    for name in against:
        runs[name] = [baseline_run(folder, name, quiet=quiet) for folder in runs[main]]
    found: dict[str, list[dict[str, Any]]] = {}
    steps, checkpoint = settings.pop("steps", None), settings.pop("checkpoint", None)
    if checkpoint not in (None, Path("best")) and len(folders) > 1:
        raise UsageError(
            f"--checkpoint {checkpoint} is one run's, and several are compared: use `best`, or the "
            "newest."
        )
    for name, places in runs.items():
        own = {"steps": 0 if name == "oracle" else steps}
        own["checkpoint"] = (
            None if name in against else checkpoint
        )  # a baseline is used as it ended
        found[name] = [evaluate.evaluate(place, quiet=quiet, **own, **settings) for place in places]
    first = found[main][0]
    metric, tasks = first["metric"], [task["task"] for task in first["per_task"]]
    scores = {
        name: np.array([[task[metric] for task in run["per_task"]] for run in results], float)
        for name, results in found.items()
    }
    # Its score before adaptation counts as none of the gap to the oracle closed.
    reference = "random" if "random" in against else main
    out = out or common_folder([folder.path for folder in folders])
    result = {
        "folder": str(out),
        "metric": metric,
        "note": first["note"],
        "preset": first["preset"],
        "steps": first["steps"],
        "tasks": tasks,
        **{
            name: first[name]
            for name in ("episodes", "shots", "queries", "step_size", "later_step_size", "seed")
        },
        "reference": reference if "oracle" in against else None,
        "methods": {
            name: {
                "runs": [str(place.path) for place in runs[name]],
                "seeds": [place.read_config().seed for place in runs[name]],
                "train_env_steps": [run["train_env_steps"] for run in found[name]],
                **_summary(scores[name]),
                **_gap(name, scores, reference),
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


def by_method(folders: list[RunFolder], configs: list[TrainConfig]) -> dict[str, list[RunFolder]]:
    """The runs by method: by the settings in which they differ, the seed apart."""
    settings = [flat(config.to_dict()) for config in configs]
    ignored = {"seed", "preset", "threads", "tensorboard", "checkpoint_every", "log_every"}
    differing = [
        name
        for name in settings[0]
        if name not in ignored and any(other.get(name) != settings[0][name] for other in settings)
    ]
    methods: dict[str, list[RunFolder]] = {}
    for folder, setting in zip(folders, settings, strict=True):
        label = ", ".join(f"{name} {setting.get(name)}" for name in differing) or META
        methods.setdefault(label, []).append(folder)
    return methods


def _summary(scores: Floats) -> dict[str, Any]:
    """Of scores [R, N, K+1]; NaN for a step after which some score is not finite."""
    scores = np.where(np.isfinite(scores).all((0, 1)), scores, np.nan)
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


def common_folder(paths: list[Path]) -> Path:
    if len(paths) == 1:
        return paths[0]
    if len({path.is_absolute() for path in paths}) > 1:
        paths = [path.absolute() for path in paths]
    return Path(os.path.commonpath(paths))


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
    large = any(
        abs(value) >= 10 for method in result["methods"].values() for value in method["mean"]
    )
    digits = 1 if result["metric"] == "return" and large else 3

    def interval(values: list[float], ends: list[list[float]]) -> list[str]:
        return [
            f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
            if np.isfinite(value)
            else "diverged"
            for value, low, high in zip(values, *ends, strict=True)
        ]

    rows = [(title, [_steps(k) for k in result["steps"]])]
    for name, method in result["methods"].items():
        rows.append((f"{name}: mean", interval(method["mean"], method["mean_ci95"])))
        rows.append(("  interquartile mean", interval(method["iqm"], method["iqm_ci95"])))
        if len(method["runs"]) > 1:
            rows += [
                (f"  seed {seed}", [f"{value:.{digits}f}" for value in means])
                for seed, means in zip(method["seeds"], method["run_means"], strict=True)
            ]
        if method["gap_closed"] is not None:
            rows.append(("  gap to oracle closed", [f"{v:.0%}" for v in method["gap_closed"]]))
        trained = np.mean(method["train_env_steps"]) / 1e6
        what = "env steps" if result["episodes"] else "examples"
        rows.append((f"  trained on {trained:.1f} million {what}", []))
    width = max(len(label) for label, _ in rows) + 2
    column = max(len(cell) for _, cells in rows for cell in cells) + 2
    return "\n".join(
        (f"{label:<{width}}" + "".join(f"{cell:>{column}}" for cell in cells)).rstrip()
        for label, cells in rows
    )


def _steps(count: int) -> str:
    return f"{count} step{'s' * (count != 1)}"
