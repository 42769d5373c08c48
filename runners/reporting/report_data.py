"""What a report is made of: runs with their metrics, evaluations and comparison."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rlmaml import checkpoint
from rlmaml.errors import ConfigError
from runners import formatting
from runners.config import TrainConfig
from runners.evaluation import compare_runs, evaluate, grouping
from runners.reporting import provenance
from runners.run_dir import RunDir

Result = dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """Runs by method, the first of which is the one that is reported; the others stand beside."""

    methods: dict[str, list[RunDir]]
    configs: dict[str, TrainConfig]
    """The first run's, by method."""
    seeds: Sequence[int]
    """Of the first method's runs, as `metrics`, `origins` and `evaluations`."""
    metrics: list[list[dict[str, Any]]]
    origins: list[dict[str, Any]]
    evaluations: list[Result]
    comparison: Result | None
    warnings: list[str]

    @property
    def main(self) -> str:
        return next(iter(self.methods))

    @property
    def main_folders(self) -> list[RunDir]:
        return self.methods[self.main]

    @property
    def config(self) -> TrainConfig:
        return self.configs[self.main]

    @cached_property
    def result(self) -> Result:
        """An evaluation: the run's, or the mean over the first method's runs.

        Beside what `runners.evaluate` returns, `low` and `high`, the ends of the mean's 95 %
        interval, and `gap_closed`, the share of the gap to the oracle, or None.
        """
        first = self.evaluations[0]
        method = self.comparison["methods"][self.main] if self.comparison else None
        gap = method["gap_closed"] if method else None
        if method is None or len(self.evaluations) == 1:
            mean, half = np.array(first["mean"]), np.array(first["ci95"])
            return {**first, "low": mean - half, "high": mean + half, "gap_closed": gap}
        assert self.comparison is not None
        metric = self.comparison["metric"]
        scores = np.mean(np.array(method["scores"], float), 0)
        low, high = method["mean_ci95"]
        settings = ("metric", "note", "steps", "episodes", "shots", "queries")
        return {
            **{name: self.comparison[name] for name in settings},
            "mean": method["mean"],
            "low": low,
            "high": high,
            "gap_closed": gap,
            "per_task": [
                {"task": task, metric: values.tolist()}
                for task, values in zip(self.comparison["tasks"], scores, strict=True)
            ],
            "tasks": len(self.comparison["tasks"]),
            **{  # which are of the comparison only if nobody has evaluated otherwise since
                name: {} if self.warnings else _mean([run[name] for run in self.evaluations])
                for name in ("groups", "others")
            },
        }

    def interval(self, k: int, decimals: int) -> str:
        """The 95 % interval of the mean after k steps, as text; empty if there is none."""
        low, high = (float(self.result[name][k]) for name in ("low", "high"))
        if not np.isfinite(low + high):
            return ""
        if len(self.evaluations) == 1:
            return f"± {formatting.number((high - low) / 2, decimals)}"
        return f"[{formatting.number(low, decimals)}, {formatting.number(high, decimals)}]"

    def curves(self) -> list[list[dict[str, Any]]]:
        """The metrics of every run, of the iterations that all have a line for."""
        common = set.intersection(*({line["iteration"] for line in run} for run in self.metrics))
        return [[line for line in run if line["iteration"] in common] for run in self.metrics]

    def mean_metrics(self) -> list[dict[str, Any]]:
        """Their means over runs, of all that is a number in each."""
        return [_mean(list(lines)) for lines in zip(*self.curves(), strict=True)]

    @cached_property
    def places(self) -> list[str]:
        """How commands name the run folders."""
        return [place for _, places in self._named().values() for place in places]

    def train_commands(self) -> list[str]:
        """What trains all the runs again."""
        commands = []
        init = self.origins[0]["init"]
        for name, (out, _) in self._named().items():
            seeds = [folder.read_config().seed for folder in self.methods[name]]
            start = provenance.origin(init) if init is not None and name == self.main else None
            commands.append(provenance.train_command(self.configs[name], out, seeds, start))
        return commands

    def _named(self) -> dict[str, tuple[str, list[str]]]:
        """Of every method what to train into, and the run folders that this makes."""
        named: dict[str, tuple[str, list[str]]] = {}
        for name, folders in self.methods.items():
            if len(folders) == 1:
                out = provenance.place(folders[0].path)
                named[name] = out, [out]
                continue
            out = f"runs/{Path(os.path.commonpath([f.path.resolve() for f in folders])).name}"
            if out in (other for other, _ in named.values()):
                out += f"-{len(named) + 1}"
            seeds = [folder.read_config().seed for folder in folders]
            named[name] = out, [f"{out}/seed-{seed}" for seed in seeds]
        return named


def gather(
    folders: list[RunDir], out: Path, *, device: str | None = None, quiet: bool = False
) -> Evidence:
    """Read what the runs' folders hold, and make what is missing.

    Args:
        folders: the runs.
        out: folder for the comparison of several runs, if there is none where they lie.
        device: for evaluations that are missing; the runs' own if None.
        quiet: show no progress.

    Raises:
        ConfigError: not a run folder, nothing trained, a file that cannot be read, or runs that
            cannot be compared.
    """
    all_configs = [folder.read_config() for folder in folders]
    methods = grouping.by_method(folders, all_configs)
    comparison = _comparison(folders, out, device, quiet)
    main, runs = next(iter(methods.items()))
    evaluations = [_evaluation(folder, device, quiet) for folder in runs]
    warnings = []
    if comparison is not None and not _same_scores(comparison, main, evaluations):
        if len(folders) == 1:
            comparison = None
            warnings.append(
                "The run has been evaluated since it was compared with baselines, on another "
                "checkpoint or other tasks, steps or draws: the comparison is left out."
            )
        else:
            warnings.append(
                "Runs have been evaluated since they were compared, on other checkpoints or other "
                "tasks, steps or draws: what is shown is the comparison."
            )
    return Evidence(
        methods=methods,
        configs={name: places[0].read_config() for name, places in methods.items()},
        seeds=[folder.read_config().seed for folder in runs],
        metrics=[folder.read_metrics() for folder in runs],
        origins=[folder.read_origin() for folder in runs],
        evaluations=evaluations,
        comparison=comparison,
        warnings=warnings,
    )


def _same_scores(comparison: Result, main: str, evaluations: list[Result]) -> bool:
    """Whether the runs were last evaluated in the comparison."""
    metric = comparison["metric"]
    compared = {str(values) for values in comparison["methods"][main]["scores"]}
    return compared == {str([t[metric] for t in run["per_task"]]) for run in evaluations}


def _evaluation(folder: RunDir, device: str | None, quiet: bool) -> Result:
    """The run's evaluation, made now if it is not there or of an older checkpoint."""
    made = _read(folder.evaluation, ("metric", "steps", "mean", "ci95", "per_task"))
    done = checkpoint.available(folder.checkpoints)
    if made is not None and done and made.get("iteration") != done[-1]:
        # Of an older checkpoint by choice (`--checkpoint best`), or because training went on?
        newest = folder.checkpoints / f"{done[-1]:06d}"
        if folder.evaluation.stat().st_mtime < newest.stat().st_mtime:
            made = None
    if made is None:
        evaluate.evaluate(folder, device=device, quiet=quiet)
        made = _read(folder.evaluation, ())
        assert made is not None
    return {"note": "", "groups": {}, "others": {}, "fits": [], "versions": {}} | made


def _comparison(folders: list[RunDir], out: Path, device: str | None, quiet: bool) -> Result | None:
    """The comparison of just these runs; of one run, None if there is none."""
    together = grouping.common_folder([folder.path for folder in folders])
    for place in dict.fromkeys((together, out)):
        found = _read(place / "comparison.json", ("methods", "steps", "tasks", "metric"))
        if found is not None and grouping.is_of(found, place, folders):
            return found
    if len(folders) == 1:
        return None
    if (out / "comparison.json").exists():
        raise ConfigError(
            f"{out / 'comparison.json'} is of other runs: name all of those, or give another place "
            "(--out DIR/report.html)."
        )
    compare_runs.compare(folders, out=out, device=device, quiet=quiet)
    return _read(out / "comparison.json", ())


def _read(path: Path, needed: tuple[str, ...]) -> Result | None:
    """A JSON object with null in lists as NaN, which it was written for; None without the file.

    Raises:
        ConfigError: it cannot be read, or lacks what is needed.
    """
    try:
        content = json.loads(path.read_text())
        missing = [name for name in needed if name not in content]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as problem:
        raise ConfigError(f"{path} cannot be read: {problem}") from problem
    if missing:
        raise ConfigError(f"{path} has no {missing[0]}: move it away to have it made anew.")
    return _nan(content)


def _nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [float("nan") if part is None else _nan(part) for part in value]
    return value


def _mean(values: list[Any]) -> Any:
    """Of alike dictionaries: theirs of all that is a number or a list of numbers in every one."""
    first = values[0]
    if isinstance(first, dict):
        common = [name for name in first if all(name in value for value in values)]
        means = {name: _mean([value[name] for value in values]) for name in common}
        return {name: mean for name, mean in means.items() if mean is not None}
    try:
        mean = np.array(values, float).mean(0)
    except (TypeError, ValueError):  # text, or lists of several lengths
        return None
    return mean.tolist()
