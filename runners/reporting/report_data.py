"""Contents of a report: runs with their metrics, evaluations and comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlmaml import checkpoint
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from runners import formatting
from runners.evaluation import grouping
from runners.evaluation.compare_runs import compare_runs
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.evaluate import evaluate_run
from runners.evaluation.results import Comparison, Evaluation
from runners.evaluation.summaries import Group, Summary
from runners.reporting import provenance
from runners.run_dir import RunDir
from runners.training.plots import Metrics

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Headline:
    """An evaluation: the run's, or the mean over the first method's runs."""

    evaluation: Evaluation
    low: Floats
    """Ends of the mean's 95 % interval, [K+1]."""
    high: Floats
    gap_closed: Floats | None
    """Share of the gap to the oracle, [K+1]."""


@dataclass(frozen=True)
class ReportData:
    """Runs by method, the first of which is the one that is reported; the others stand beside."""

    methods: dict[str, list[RunDir]]
    configs: dict[str, TrainConfig]
    """The first run's, by method."""
    seeds: list[int]
    """Seeds of the first method's runs, as `metrics`, `versions` and `evaluations`."""
    metrics: list[Metrics]
    versions: list[dict[str, str]]
    """That the runs were trained with; empty where they were not noted."""
    evaluations: list[Evaluation]
    comparison: Comparison | None
    warnings: list[str]

    @property
    def main(self) -> str:
        """The method that is reported."""
        return next(iter(self.methods))

    @property
    def main_folders(self) -> list[RunDir]:
        """Its runs."""
        return self.methods[self.main]

    @property
    def config(self) -> TrainConfig:
        """The configuration of its first run."""
        return self.configs[self.main]

    @property
    def result(self) -> Evaluation:
        """The evaluation that is reported."""
        return self.headline.evaluation

    @cached_property
    def headline(self) -> Headline:
        """The run's evaluation, or the mean over runs, with its interval."""
        first = self.evaluations[0]
        method = self.comparison.methods[self.main] if self.comparison else None
        gap = method.gap_closed if method else None
        if method is None or len(self.evaluations) == 1:
            return Headline(first, first.mean - first.ci95, first.mean + first.ci95, gap)
        assert self.comparison is not None
        # Kinds are of the comparison only if nobody has evaluated otherwise since.
        alike = [] if self.warnings else self.evaluations
        low, high = method.mean_ci95
        mean = dataclasses.replace(
            first,
            metric=self.comparison.metric,
            note=self.comparison.note,
            steps=self.comparison.steps,
            episodes=self.comparison.episodes,
            shots=self.comparison.shots,
            queries=self.comparison.queries,
            tasks=self.comparison.tasks,
            scores={self.comparison.metric: method.scores.mean(0)},
            mean=method.mean,
            ci95=(high - low) / 2,
            groups=_mean_groups([each.groups for each in alike]),
            others=_mean_summaries([each.others for each in alike]),
            fits=(),
        )
        return Headline(mean, low, high, gap)

    @cached_property
    def decimals(self) -> int:
        """Decimals of all scores of the report."""
        rows = [self.result, *self.result.groups.values()]
        rows += [*self.comparison.methods.values()] if self.comparison else []
        return formatting.digits(self.result.metric, [mean for row in rows for mean in row.mean])

    def interval(self, k: int) -> str:
        """The 95 % interval of the mean after k steps, as text; empty if there is none."""
        low, high = float(self.headline.low[k]), float(self.headline.high[k])
        if not np.isfinite(low + high):
            return ""
        if len(self.evaluations) == 1:
            return f"± {formatting.number((high - low) / 2, self.decimals)}"
        ends = (formatting.number(end, self.decimals) for end in (low, high))
        return f"[{', '.join(ends)}]"

    def curves(self) -> list[Metrics]:
        """The metrics of every run, of the iterations that all have a line for."""
        common = set.intersection(*({line["iteration"] for line in run} for run in self.metrics))
        return [[line for line in run if line["iteration"] in common] for run in self.metrics]

    def mean_metrics(self) -> Metrics:
        """Their means over runs, of all that is a number in each; NaN where one is not finite."""
        lines = []
        for together in zip(*self.curves(), strict=True):
            columns = {name: [line.get(name) for line in together] for name in together[0]}
            lines.append(
                {
                    name: float(np.mean(np.array(column, np.float64)))  # None is NaN
                    for name, column in columns.items()
                    if all(isinstance(value, Real | None) for value in column)
                }
            )
        return lines

    @cached_property
    def names(self) -> list[str]:
        """Names of the run folders in commands."""
        return [provenance.short(run.path) for runs in self.methods.values() for run in runs]

    def train_commands(self) -> list[str]:
        """Commands that train all the runs again; one that trained several, once."""
        runs = [run for runs in self.methods.values() for run in runs]
        return list(dict.fromkeys(map(provenance.train_command, runs)))


def gather(
    folders: list[RunDir], out: Path, *, device: str | None = None, quiet: bool = False
) -> ReportData:
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
    all_configs = [folder.read_config(strict=False) for folder in folders]
    methods = grouping.by_method(folders, all_configs)
    comparison = _comparison(folders, out, device, quiet)
    main, runs = next(iter(methods.items()))
    evaluations = [_evaluation(folder, device, quiet) for folder in runs]
    warnings = []
    if comparison is not None and not _same_measurement(comparison, main, evaluations):
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
    return ReportData(
        methods=methods,
        configs={name: group[0].read_config(strict=False) for name, group in methods.items()},
        seeds=[folder.read_config(strict=False).seed for folder in runs],
        metrics=[folder.read_metrics() for folder in runs],
        versions=[folder.read_origin().versions or {} for folder in runs],
        evaluations=evaluations,
        comparison=comparison,
        warnings=warnings,
    )


def _same_measurement(comparison: Comparison, main: str, evaluations: Sequence[Evaluation]) -> bool:
    """True if the runs were last evaluated in the comparison: same checkpoints, same draws."""
    method = comparison.methods[main]
    digests = method.checkpoint_sha256 or (None,) * len(evaluations)
    compared = sorted(zip(method.iteration, map(str, digests), strict=True))
    measured = sorted(
        (each.iteration, str(each.checkpoint_sha256 if method.checkpoint_sha256 else None))
        for each in evaluations
    )
    return compared == measured and all(each.draws == comparison.draws for each in evaluations)


def _evaluation(folder: RunDir, device: str | None, quiet: bool) -> Evaluation:
    """The run's evaluation, made now if there is none or it is of another checkpoint."""
    try:
        made = Evaluation.load(folder.evaluation)
    except FileNotFoundError:
        made = None
    if made is None or _stale(made, folder):
        return evaluate_run(folder, EvalConfig(device=device), quiet=quiet)
    return made


def _stale(made: Evaluation, folder: RunDir) -> bool:
    """True if the checkpoint that was asked for holds other parameters than were measured."""
    asked = made.checkpoint
    path = None if asked is None else Path("best")
    if asked not in (None, "best"):
        path = folder.checkpoints / asked
        # By choice, of an older one that is no longer kept, or of none that a training has named.
        if not asked.isdecimal() or not path.exists():
            return False
    current = checkpoint.locate(folder.path, path)
    return not made.measured(int(current.name), checkpoint.meta_digest(current))


def _comparison(
    folders: list[RunDir], out: Path, device: str | None, quiet: bool
) -> Comparison | None:
    """The comparison of just these runs; of one run, None if there is none."""
    together = grouping.common_folder([folder.path for folder in folders])
    for folder in dict.fromkeys((together, out)):
        try:
            made = Comparison.load(folder / "comparison.json")
        except FileNotFoundError:
            continue
        if grouping.is_of(made, folder, folders):
            return made
    if len(folders) == 1:
        return None
    if (out / "comparison.json").exists():
        raise ConfigError(
            f"{out / 'comparison.json'} is of other runs: name all of those, or give another place "
            "(--out DIR/report.html)."
        )
    return compare_runs(folders, EvalConfig(device=device), out=out, quiet=quiet)


def _mean_groups(each: Sequence[dict[str, Group]]) -> dict[str, Group]:
    """Means over runs, of the kinds of task that all have."""
    groups = {}
    for name in _common(each):
        alike = [groups_of[name] for groups_of in each]
        groups[name] = Group(
            alike[0].tasks,
            np.mean([group.mean for group in alike], 0),
            np.mean([group.ci95 for group in alike], 0),
            {
                other: np.mean([group.others[other] for group in alike], 0)
                for other in _common([group.others for group in alike])
            },
        )
    return groups


def _mean_summaries(each: Sequence[dict[str, Summary]]) -> dict[str, Summary]:
    return {
        name: Summary(
            np.mean([summaries[name].mean for summaries in each], 0),
            np.mean([summaries[name].ci95 for summaries in each], 0),
        )
        for name in _common(each)
    }


def _common(each: Sequence[dict[str, Group] | dict[str, Summary] | dict[str, Floats]]) -> list[str]:
    """The names that all have."""
    return [name for name in (each[0] if each else ()) if all(name in one for one in each)]
