"""Results of evaluations: read, written and shown here alone.

Results hold arrays, of which one does not say that they are equal: `eq=False`.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlmaml.config import DEFAULT_ALGORITHM
from rlmaml.errors import ConfigError
from rlmaml.sampling.task_values import is_array, plain
from runners import formatting
from runners.evaluation import shapes, statistics, tables
from runners.evaluation.answers import Answers
from runners.evaluation.records import Record, from_record, to_record
from runners.evaluation.summaries import Fit, Group, Summary, kinds_of
from runners.evaluation.tables import Body, Cell, Row, Table
from runners.io import read_json, write_csv, write_json

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Conditions:
    """Conditions of a measurement: by what, on what and how."""

    metric: str
    """return, mse or accuracy."""
    note: str = ""
    """A remark that a reader needs on how the metric was come by."""
    preset: str
    steps: tuple[int, ...]
    """0 .. K, after which there are scores."""
    tasks: np.ndarray
    """[N, *task_space.shape], or objects [N], held out."""
    episodes: int | None = None
    """Per task and step; None where runs learn from examples."""
    shots: int | None = None
    queries: int | None = None
    """Per task, in classification per class; None where runs learn from episodes."""
    step_size: float | None = None
    later_step_size: float | None = None
    """Size of further steps than those of training; None if it is step_size."""
    later_step_share: float | None = None
    """The same as a share of what they would be; None in files of before."""
    deterministic: bool = False
    split: str = "test"
    """Split that the tasks are from."""
    seed: int = 0
    checkpoint: str | None = None
    """The choice: `best` or a checkpoint's name; None for the newest."""
    versions: dict[str, str] = field(default_factory=dict)
    command: str | None = None
    """The command line that made it; None if it was made in Python."""
    path: Path | None = field(default=None, metadata={"stored": False})
    """The file that it was written to, for the terminal."""

    @property
    def draws(self) -> tuple[object, ...]:
        """All that decides, beside the runs, what scores come out."""
        drawn = (self.metric, self.steps, self.episodes, self.shots, self.queries, self.seed)
        sizes = (self.step_size, self.later_step_size)
        return (*drawn, self.deterministic, self.split, *sizes, self.task_list)

    @property
    def task_list(self) -> list[object]:
        """The tasks as numbers, or lists of them, or other plain values."""
        return [plain(task) for task in self.tasks]

    @property
    def higher_is_better(self) -> bool:
        """True where the better score is the higher one."""
        return formatting.higher_is_better(self.metric)

    @property
    def data(self) -> str:
        """Noun for a count of what runs are trained on."""
        return "environment steps" if self.episodes else "labeled examples"


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation(Conditions):
    """One run on held-out tasks."""

    algorithm: str = DEFAULT_ALGORITHM
    iteration: int
    """Iteration of the checkpoint that was measured."""
    checkpoint_sha256: str | None = None
    """SHA-256 of its meta-parameters, as in its manifest; None in files of before."""
    train_env_steps: int
    """Or examples, that it was trained on."""
    train_seconds: float | None = None
    """Time that training took; None in files of before."""
    tasks_given: bool = False
    """True if the tasks were given, and not drawn by the seed."""
    scores: dict[str, Floats]
    """[N, K+1] by name, the metric first."""
    mean: Floats
    ci95: Floats
    others: dict[str, Summary] = field(default_factory=dict)
    """Summaries of the scores beside the metric."""
    groups: dict[str, Group] = field(default_factory=dict)
    """By kind of task, where there are few kinds."""
    fits: tuple[Fit, ...] = ()
    """Fits of some tasks, where the run is a regression of one number on one."""
    answers: Answers | None = field(default=None, metadata={"stored": False})
    """Images of one task and what was answered, where the run classifies images."""
    seconds: float = 0.0

    def save(self, path: Path) -> Evaluation:
        """Write it as JSON, and beside it as CSV with a line per task and step.

        Returns:
            The same, knowing its `path`.
        """
        record = dict(_stored(self))
        record["tasks"] = len(self.tasks)
        record["per_task"] = [
            {"task": task, **{name: values[i].tolist() for name, values in self.scores.items()}}
            for i, task in enumerate(self.task_list)
        ]
        del record["scores"]
        record["groups"] = {name: _flat_group(group) for name, group in self.groups.items()}
        write_json(path, record)
        rows = (
            (shown(task), step, *(values[i, step] for values in self.scores.values()))
            for i, task in enumerate(self.tasks)
            for step in self.steps
        )
        write_csv(path.with_suffix(".csv"), ("task", "steps", *self.scores), rows)
        return dataclasses.replace(self, path=path)

    @classmethod
    def load(cls, path: Path) -> Evaluation:
        """Read what `save`, or an earlier version, wrote.

        Raises:
            FileNotFoundError: a missing file.
            ConfigError: a file that cannot be read, or lacks a field.
        """
        record = read_json(path)
        per_task = record.pop("per_task", None)
        if isinstance(per_task, list) and "metric" in record:
            if not per_task or not all(isinstance(each, dict) for each in per_task):
                raise ConfigError(f"{path} cannot be read: its per_task are no objects.")
            names = [name for name in per_task[0] if name != "task"]
            try:
                record["tasks"] = [task["task"] for task in per_task]
                record["scores"] = {name: [task[name] for task in per_task] for name in names}
            except KeyError as problem:
                raise ConfigError(f"{path} cannot be read: a task has no {problem}.") from problem
        groups = record.get("groups")
        if isinstance(groups, dict):
            record["groups"] = {name: _nested_group(group) for name, group in groups.items()}
        read = from_record(cls, record, path)
        shapes.check_evaluation(read, path)
        return read

    def measured(self, iteration: int, digest: str) -> bool:
        """Check that it is of the checkpoint of this iteration and SHA-256 of meta-parameters.

        Files of before have no hash: of those the iteration decides.
        """
        return self.iteration == iteration and self.checkpoint_sha256 in (None, digest)

    def table(self) -> Table:
        """Table with a line per group of tasks and one for all."""
        rows = [self, *self.groups.values()]
        decimals = formatting.digits(self.metric, [mean for row in rows for mean in row.mean])
        lines = [tables.spread_row("all tasks", self.mean, self.ci95, decimals)]
        for name, group in self.groups.items():
            label = formatting.kind(name)
            lines.append(tables.spread_row(label, group.mean, group.ci95, decimals))
            lines += [
                tables.plain_row(f"  mean {other.replace('_', ' ')}", means, 2)
                for other, means in group.others.items()
                if other != "diverged"
            ]
        if self.metric != "return":
            lines += [
                tables.spread_row(name, other.mean, other.ci95, decimals)
                for name, other in self.others.items()
            ]
        tasks = formatting.tasks(len(self.tasks), len(self.groups), self.split)
        title = f"{self.metric} on {tasks}{_note(self)}"
        return Table([str(k) for k in self.steps], [Body("", "", lines)], title=title)

    def __str__(self) -> str:
        return f"{self.table()}{_written(self.path, 'csv', 'plots/*.png')}"


@dataclass(frozen=True, eq=False)
class ComparedMethod:
    """Runs of one method, R of them, on N tasks; intervals are [2, K+1], their lower ends first."""

    runs: tuple[str, ...]
    """Folders, as seen from the comparison's."""
    seeds: tuple[int, ...]
    iteration: tuple[int, ...]
    train_env_steps: tuple[int, ...]
    step_size: Floats
    """[R]."""
    run_means: Floats
    """[R, K+1]."""
    mean: Floats
    mean_ci95: Floats
    """As of `statistics.interval`."""
    iqm: Floats
    """Interquartile mean."""
    scores: Floats
    """[R, N, K+1]."""
    gap_closed: Floats | None = None
    """Share of the gap to the oracle, [K+1]; None without one, and of the oracle."""
    gap_closed_ci95: Floats | None = None
    later_step_size: Floats = field(default_factory=lambda: np.zeros(0))
    """[R]; NaN where it is step_size."""
    train_seconds: Floats = field(default_factory=lambda: np.zeros(0))
    """[R]; empty in files of before."""
    sizes_tried: dict[str, Floats] = field(default_factory=dict)
    """Means [K+1] by size of the inner steps, where some were tried."""
    groups: dict[str, Group] = field(default_factory=dict)
    """By kind of task, where there are few kinds."""
    checkpoint_sha256: tuple[str, ...] = ()
    """SHA-256 of each run's meta-parameters; empty in files of before."""

    def training(self, name: str, data: str) -> str:
        """Describe what the method is and was trained on, in a phrase.

        Args:
            name: of the method.
            data: what it counts (`Conditions.data`).
        """
        cost = float(np.mean(self.train_env_steps))
        several = len(self.seeds) > 1
        phrase = "not trained"
        if cost:
            phrase = f"{formatting.amount(cost)} {data} of training{' each' * several}"
        if several:
            phrase += f"; seeds {formatting.listed(self.seeds)}"
        if self.sizes_tried:
            phrase += f"; steps of {self.step_size[0]:g}, of {', '.join(self.sizes_tried)} the best"
        what = formatting.BASELINES.get(name)
        return phrase if what is None else f"{what}; {phrase}"

    def rows(self, decimals: int) -> list[Row]:
        """Rows of mean, interquartile mean, gap to the oracle closed and single runs."""
        several = len(self.runs) > 1
        rows = [tables.interval_row("mean", self.mean, self.mean_ci95, decimals)]
        rows += [
            tables.spread_row(formatting.kind(name), group.mean, group.ci95, decimals)
            for name, group in self.groups.items()
        ]
        rows.append(tables.plain_row("interquartile mean", self.iqm, decimals))
        if self.gap_closed is not None:
            rows.append(
                tables.share_row("gap to oracle closed", self.gap_closed, self.gap_closed_ci95)
            )
        if several:
            rows += [
                tables.plain_row(f"seed {seed}", means, decimals)
                for seed, means in zip(self.seeds, self.run_means, strict=True)
            ]
        return rows


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison(Conditions):
    """Several runs, and baselines of theirs, on the same held-out tasks."""

    reference: str | None = None
    """Whose score before adaptation counts as none of the gap to the oracle closed."""
    methods: dict[str, ComparedMethod]

    def save(self, path: Path) -> Comparison:
        """Write it as JSON, and beside it as CSV with a line per method, run, task and step.

        Returns:
            The same, knowing its `path`.
        """
        write_json(path, _stored(self))
        rows = (
            (name, run, seed, shown(task), step, score)
            for name, method in self.methods.items()
            for run, seed, scores in zip(method.runs, method.seeds, method.scores, strict=True)
            for task, values in zip(self.tasks, scores, strict=True)
            for step, score in enumerate(values)
        )
        header = ("method", "run", "seed", "task", "steps", self.metric)
        write_csv(path.with_suffix(".csv"), header, rows)
        return dataclasses.replace(self, path=path)

    @classmethod
    def load(cls, path: Path) -> Comparison:
        """Read what `save`, or an earlier version, wrote.

        Raises:
            FileNotFoundError: a missing file.
            ConfigError: a file that cannot be read, or lacks a field.
        """
        read = from_record(cls, read_json(path), path)
        shapes.check_comparison(read, path)
        return _with_our_intervals(read)

    def table(self, decimals: int | None = None) -> Table:
        """Table of methods by steps."""
        if decimals is None:
            means = [value for method in self.methods.values() for value in method.mean]
            decimals = formatting.digits(self.metric, means)
        bodies = []
        for name, method in self.methods.items():
            rows = method.rows(decimals)
            for row in rows:  # an oracle does not adapt
                row.cells.extend([Cell("–")] * (len(self.steps) - len(row.cells)))
            bodies.append(Body(name, method.training(name, self.data), rows))
        runs = max(len(method.runs) for method in self.methods.values())
        kinds = max(len(method.groups) for method in self.methods.values())
        title = f"{self.metric} on {formatting.tasks(len(self.tasks), kinds, self.split)}"
        title += f", {runs} runs" * (runs > 1) + _note(self)
        return Table([str(k) for k in self.steps], bodies, title=title)

    def __str__(self) -> str:
        return f"{self.table()}{_written(self.path, 'csv', 'plots/comparison.png')}"


def _with_our_intervals(read: Comparison) -> Comparison:
    """The same with the intervals of `statistics`; those in files of before are bootstraps."""
    kinds, scores = kinds_of(read.tasks), {n: each.scores for n, each in read.methods.items()}
    oracle, reference = scores.get("oracle"), scores.get(read.reference or "")
    methods = {}
    for name, method in read.methods.items():
        gap = None
        if method.gap_closed is not None and oracle is not None and reference is not None:
            gap = statistics.gap_interval(method.scores, reference[..., :1], oracle)
        own = statistics.interval(method.scores, kinds)
        methods[name] = dataclasses.replace(method, mean_ci95=own, gap_closed_ci95=gap)
    return dataclasses.replace(read, methods=methods)


def shown(task: Any) -> str:
    """Format a task for a table: its numbers, or what else it is as JSON."""
    value = plain(task)
    if not is_array(value):
        return value if isinstance(value, str) else json.dumps(value)
    return " ".join(f"{number:g}" for number in np.ravel(task))


def _stored(value: Conditions) -> Record:
    record = to_record(value)
    assert isinstance(record, dict)
    return record


def _flat_group(group: Group) -> object:
    """Put the means of other scores beside the metric's, as they stand in a file."""
    own = {"tasks": group.tasks, "mean": group.mean, "ci95": group.ci95}
    return to_record({**own, **group.others})


def _nested_group(record: Any) -> Any:
    """The inverse; of what is no group, itself."""
    if not isinstance(record, dict):
        return record
    own = {name: record.pop(name) for name in ("tasks", "mean", "ci95") if name in record}
    return {**own, "others": record}


def _note(conditions: Conditions) -> str:
    return f" ({conditions.note})" if conditions.note else ""


def _written(path: Path | None, *beside: str) -> str:
    """The last line that the terminal shows: files, the first in full."""
    if path is None:
        return ""
    names = [path.with_suffix(f".{name}").name if name == "csv" else name for name in beside]
    return f"\nWritten: {', '.join([str(path), *names])}"
