"""`rlmaml reproduce`: a row of the MAML paper's table, trained and measured as its authors did."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from rlmaml import checkpoint
from rlmaml.errors import ConfigError
from runners.config import TrainConfig
from runners.errors import require_at_least
from runners.evaluation import baselines, evaluate, plots, statistics
from runners.evaluation.baselines import Baseline, PlannedRun
from runners.io import versions, write_json, write_text
from runners.presets import PRESETS
from runners.presets.maml_paper import OURS, ROWS, Row
from runners.run_dir import RunDir

NAMES = tuple(name for name in PRESETS if name.removesuffix(OURS) in ROWS)
"""What can be reproduced: the authors' settings, and ours for the same environment."""

_BESIDE: tuple[Baseline, ...] = ("random", "pretrained", "oracle")
_ORDER = ("maml", *_BESIDE)


def reproduce(
    name: str,
    *,
    seeds: int = 3,
    baseline_seeds: int = 1,
    out: Path = Path("runs/paper"),
    measure_only: bool = False,
    device: str | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train a row's runs and baselines, and measure them by the authors' protocol.

    Their 40 tasks, the stochastic policy, a linear baseline fitted anew each time, 4000 time steps
    a task and step (ant direction 8000), the first step of their size (with our settings, of
    ours) and later ones of their share of it. Everything is kept in `out`, and calling this again
    goes on where it was: runs from their newest checkpoints, evaluations from their files. Results
    are written after every run that finishes: `out/NAME/reproduction.json` and `learning.png`, and
    `out/table.md` of all rows that are there.

    Args:
        name: of `NAMES`.
        seeds: meta-train with seeds 0, 1 ... so many.
        baseline_seeds: train the baselines of the first so many.
        out: folder of all rows.
        measure_only: train nothing: measure the checkpoints that there are.
        device: where learning runs; as in the preset if None.
        quiet: show no progress.

    Returns:
        What `reproduction.json` holds.

    Raises:
        ConfigError: another name, or what training and evaluating raise.
    """
    if name not in NAMES:
        raise ConfigError(f"{name!r} is no row of the paper: use one of {', '.join(NAMES)}.")
    require_at_least(1, seeds=seeds)
    require_at_least(0, baseline_seeds=baseline_seeds)
    row, config = ROWS[name.removesuffix(OURS)], PRESETS[name][1]
    wanted = {"maml": 0 if measure_only else seeds}
    wanted |= dict.fromkeys(_BESIDE, 0 if measure_only else min(seeds, baseline_seeds))
    plans = _plans(config, out / name, wanted, device)  # found possible before hours are spent
    found: dict[str, dict[int, dict[str, Any]]] = {}
    curves: dict[int, list[dict[str, Any]]] = {}

    def measure(which: str, seed: int, plan: PlannedRun) -> None:
        found.setdefault(which, {})[seed] = _measured(plan, which, row, device, quiet)
        if which == "maml":
            curves[seed] = plan.place.read_metrics()

    def write() -> dict[str, Any]:
        result = _summary(name, config, row, found)
        write_json(out / name / "reproduction.json", result)
        _draw(name, row, [curves[seed] for seed in sorted(curves)], out / name / "learning.png")
        write_text(out / "table.md", table(_results(out)))
        return result

    to_train = {key: plan for key, plan in plans.items() if key[1] < wanted[key[0]]}
    for (which, seed), plan in plans.items():  # what there is stays in the table
        if plan.finished or (measure_only and checkpoint.available(plan.place.checkpoints)):
            measure(which, seed, plan)
    if not found and measure_only:
        raise ConfigError(f"{out / name} has no run: leave out --measure-only.")
    result = write() if found else {}
    for (which, seed), plan in to_train.items():
        if not plan.finished:
            baselines.trained(plan, quiet=quiet)
            measure(which, seed, plan)
            result = write()
    return result


def _plans(
    config: TrainConfig, place: Path, wanted: dict[str, int], device: str | None
) -> dict[tuple[str, int], PlannedRun]:
    """What is wanted and what there is, by kind and seed; runs first, seed by seed."""
    there = [int(path.name[5:]) for path in place.glob("seed-*") if path.name[5:].isdigit()]
    plans = {}
    for which in wanted:
        for seed in sorted({*range(wanted[which]), *there}):
            folder = RunDir(place / f"seed-{seed}")
            its = dataclasses.replace(config, seed=seed)
            if which in _BESIDE:
                folder = RunDir(folder.path / "baselines" / which)
                its = baselines.baseline_config(its, which)
            if seed < wanted[which] or folder.path.exists():
                plans[which, seed] = baselines.prepared(folder, its, device=device)
    return plans


def _measured(
    plan: PlannedRun, which: str, row: Row, device: str | None, quiet: bool
) -> dict[str, Any]:
    """A run by the authors' protocol, from its evaluation file if it is of the same."""
    place, config = plan.place, plan.config
    ours = config.preset.endswith(OURS)
    size = None if which == "oracle" else config.inner.step_size if ours else row.sizes[which]
    steps = 0 if which == "oracle" else len(row.maml) - 1
    later = None if size is None else row.later * size
    tasks = row.tasks()
    protocol: dict[str, Any] = {
        "steps": list(range(steps + 1)),
        "episodes": row.episodes,
        "seed": 0,
        "deterministic": False,
        "step_size": config.inner.step_size if size is None else size,
        "later_step_size": later,
    }
    result = _kept(place, protocol, tasks)
    if result is None:
        result = evaluate.evaluate(
            place,
            tasks=tasks,
            steps=steps,
            episodes=row.episodes,
            step_size=size,
            later_step_size=later,
            device=device,
            quiet=quiet,
        )
    if result["iteration"] < config.iterations:
        done = f"{result['iteration']} of its {config.iterations} iterations"
        print(f"{place.path} has done {done}.", file=sys.stderr)
    metrics = place.read_metrics()
    return {
        **protocol,
        "seed": config.seed,  # of the training; the evaluation's is 0
        "iterations": [result["iteration"], config.iterations],
        "env_steps": result["train_env_steps"],
        "minutes": metrics[-1]["seconds"] / 60 if metrics else 0.0,
        "returns": np.array([task["return"] for task in result["per_task"]], float),
    }


def _kept(place: RunDir, protocol: dict[str, Any], tasks: np.ndarray) -> Any:
    """The evaluation of the newest checkpoint that is there already, if it is by this protocol."""
    if not place.evaluation.exists():
        return None
    kept = json.loads(place.evaluation.read_text())
    newest = checkpoint.available(place.checkpoints)[-1]
    same = all(name in kept and kept[name] == value for name, value in protocol.items())
    its = [task["task"] for task in kept["per_task"]]
    return kept if same and kept["iteration"] == newest and its == tasks.tolist() else None


def _summary(
    name: str, config: TrainConfig, row: Row, found: dict[str, dict[int, dict[str, Any]]]
) -> dict[str, Any]:
    """Of runs measured, by what they are: means over tasks and runs."""
    methods = {}
    for which, by_seed in sorted(found.items(), key=lambda each: _ORDER.index(each[0])):
        runs = [by_seed[seed] for seed in sorted(by_seed)]
        per_run = np.stack([run["returns"].mean(0) for run in runs])
        mean, half = statistics.over_runs(per_run, runs[0]["returns"])
        plain = [{k: v for k, v in run.items() if k != "returns"} for run in runs]
        for run, means in zip(plain, per_run, strict=True):
            run["mean"] = means.tolist()
        methods[which] = {
            "mean": mean.tolist(),
            "ci95": half.tolist(),
            "over": "runs" if len(runs) > 1 else "tasks",
            "runs": plain,
        }
    return {
        "preset": name,
        "settings": "our" if name.endswith(OURS) else "authors'",
        "row": name.removesuffix(OURS),
        "paper": {"maml": row.maml, "pretrained": row.pretrained, "oracle": row.oracle},
        "methods": methods,
        "config": config.to_dict(),
        "versions": versions(),
    }


def _draw(name: str, row: Row, curves: list[list[dict[str, Any]]], path: Path) -> None:
    curves = [curve for curve in curves if curve]
    if not curves:
        return
    shortest = min(map(len, curves))  # a mean over fewer runs would jump
    mean = [
        {
            key: float(np.mean([curve[i][key] for curve in curves]))
            for key in ("iteration", "env_steps", "return/pre", "return/post")
        }
        for i in range(shortest)
    ]
    levels = [
        ("paper, before", row.maml[0], plots.BEFORE),
        ("paper, after 1 step", row.maml[1], plots.AFTER),
    ]
    many = f", mean of {len(curves)} seeds" if len(curves) > 1 else ", seed 0"
    plots.learning_curve(mean, path, name + many, curves * (len(curves) > 1), levels)


def _results(out: Path) -> list[dict[str, Any]]:
    """Every row that has been reproduced in a folder, in the order of `NAMES`."""
    files = [out / name / "reproduction.json" for name in NAMES]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def table(results: list[dict[str, Any]]) -> str:
    """Rows of the table, in Markdown: the paper's figures, and under them what there is of ours."""
    most = max(len(result["paper"]["maml"]) for result in results)
    steps = " | ".join(f"{k} step{'s' * (k != 1)}" for k in range(most))
    lines = [
        f"| | {steps} | seeds | iterations | million env steps | min |",
        "|---" * (most + 5) + "|",
    ]
    shown: set[str] = set()
    for result in results:
        if result["row"] not in shown:
            shown.add(result["row"])
            lines += _paper_lines(result, most)
        for which, method in result["methods"].items():
            lines.append(_line(result, which, method, most))
    legend = (
        "± is half a 95 % interval: over seeds by Student's t, or where there is one seed over its "
        "40 tasks, which does not say how seeds differ. Environment steps and minutes are those of "
        "training a run, the mean over seeds."
    )
    return "\n".join([*lines, "", legend, ""])


def _paper_lines(result: dict[str, Any], most: int) -> list[str]:
    paper = result["paper"]
    labeled = (
        (f"**{result['row'].removeprefix('paper-')}**: paper, MAML", paper["maml"]),
        ("paper, pre-trained", paper["pretrained"]),
        ("paper, oracle", [paper["oracle"]]),
    )
    return [
        f"| {label} | {_cells([f'{value:.1f}' for value in values], most)} | | | | |"
        for label, values in labeled
        if values is not None
    ]


def _line(result: dict[str, Any], which: str, method: dict[str, Any], most: int) -> str:
    runs = method["runs"]
    settings = f"{result['settings']} settings"
    what = f"MAML, {settings}" if which == "maml" else f"{which}, {settings}"
    cells = [
        f"{m:.1f} ± {h:.1f}" if np.isfinite([m, h]).all() else "diverged"
        for m, h in zip(*(_numbers(method[field]) for field in ("mean", "ci95")), strict=True)
    ]
    if which == "maml":
        cells[1:2] = [f"**{cell}**" for cell in cells[1:2]]
    done = sorted({run["iterations"][0] for run in runs})
    planned = runs[0]["iterations"][1]
    iterations = str(planned) if done == [planned] else f"{'/'.join(map(str, done))} of {planned}"
    steps = np.mean([run["env_steps"] for run in runs]) / 1e6
    minutes = np.mean([run["minutes"] for run in runs])
    end = f"{len(runs)} | {iterations} | {steps:.1f} | {minutes:.1f}"
    return f"| {what} | {_cells(cells, most)} | {end} |"


def _numbers(values: list[float | None]) -> list[float]:
    """JSON has no NaN: it comes back as null."""
    return [np.nan if value is None else value for value in values]


def _cells(cells: list[str], most: int) -> str:
    return " | ".join([*cells, *[""] * (most - len(cells))])
