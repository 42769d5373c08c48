"""`rlmaml compare`: algorithms on one problem, with the same budget of data for each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import tyro
from numpy.typing import NDArray

from rlmaml import algorithms as library
from rlmaml import trust
from rlmaml.build import data_per_task
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from runners import formatting
from runners.command_line.terminal import say
from runners.errors import TrainingStopped, require_at_least
from runners.evaluation import baselines, profile, statistics, tables
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.measure import measure
from runners.evaluation.profile import Cost
from runners.evaluation.records import Record, from_record, to_record
from runners.evaluation.results import Evaluation
from runners.evaluation.tables import Body, Cell, Row, Table
from runners.io import command, read_json, versions, write_csv, write_json
from runners.presets import PRESETS, with_algorithm
from runners.run_dir import RunDir

Floats = NDArray[np.float64]

STEPS = {"episodes": (0, 1, 2, 3), "examples": (0, 1, 5, 10)}
"""Inner steps whose scores are tabulated, by the kind of data."""


@dataclass(frozen=True, eq=False)
class AlgorithmRow:
    """One algorithm: trained and evaluated for every seed, timed for the first."""

    metric: str
    steps: tuple[int, ...]
    """After which there are scores."""
    tasks: int
    """Held out."""
    mean: Floats
    """Over seeds and tasks, of each of `steps`."""
    ci95: Floats
    """Half-width of its 95 % interval: by Student's t over seeds, or of one seed over tasks."""
    per_seed: Floats
    """[S, steps]."""
    iterations: int
    iterations_before: int
    """Iterations of the run that it started from."""
    training_seconds: tuple[float, ...]
    inner_steps: int
    cost: Cost
    made_from: Record = field(default_factory=dict)
    """Configurations, seeds and tasks, by which a row that is there already is known again."""

    def to_record(self) -> Record:
        """The row as JSON; what it costs stands beside the rest."""
        record = to_record(self)
        assert isinstance(record, dict)
        del record["cost"]
        return record | dataclasses.asdict(self.cost)

    @classmethod
    def from_record(cls, record: Record, source: Path) -> AlgorithmRow:
        """The inverse.

        Raises:
            ConfigError: a field is missing.
        """
        cost = {name: record[name] for name in record if name in Cost.__dataclass_fields__}
        return from_record(cls, {**record, "cost": cost}, source)

    def cells(self) -> list[Cell]:
        """Scores, iterations, speed and memory."""
        decimals = formatting.digits(self.metric, self.mean)
        scores = tables.spread_row("", self.mean, self.ci95, decimals).cells
        rate = self.cost.iterations_per_second
        speed = f"{rate:.3g}" if rate < 1000 else f"{rate:.0f}"
        rest = (f"{self.iterations}", speed, f"{self.cost.peak_memory_mb:.0f}")
        return [*scores, *map(Cell, rest)]


@dataclass(frozen=True, eq=False)
class AlgorithmComparison:
    """Algorithms on one problem: `algorithms.json`."""

    preset: str
    metric: str
    steps: tuple[int, ...]
    tasks: int
    seeds: tuple[int, ...]
    data_per_task_and_iteration: int
    """Data of the preset's own algorithm, which sets the budget."""
    iterations: int
    """Iterations of the preset's own algorithm."""
    algorithms: dict[str, AlgorithmRow]
    refused: dict[str, str]
    """Why an algorithm does not apply."""
    failed: dict[str, str]
    """Why one has no scores."""
    versions: dict[str, str] = field(default_factory=dict)
    command: str | None = None
    """The command line that made it; None if it was made in Python."""
    path: Path | None = field(default=None, metadata={"stored": False})
    """The file that it was written to, for the terminal."""

    def save(self, path: Path) -> AlgorithmComparison:
        """Write it as JSON, and beside it as CSV with a line per algorithm and number of steps.

        Returns:
            The same, knowing its `path`.
        """
        record = to_record(dataclasses.replace(self, algorithms={}))
        assert isinstance(record, dict)
        rows = {name: row.to_record() for name, row in self.algorithms.items()}
        write_json(path, record | {"algorithms": rows})
        lines = (
            (name, step, mean, half)
            for name, row in self.algorithms.items()
            for step, mean, half in zip(row.steps, row.mean, row.ci95, strict=True)
        )
        write_csv(path.with_suffix(".csv"), ("algorithm", "steps", "mean", "ci95"), lines)
        return dataclasses.replace(self, path=path)

    @classmethod
    def load(cls, path: Path) -> AlgorithmComparison:
        """Read what `save` wrote, or the `methods.json` of an earlier version.

        Raises:
            FileNotFoundError: a missing file.
            ConfigError: a file that cannot be read, or lacks a field.
        """
        record = read_json(path)
        stored = record.pop("algorithms", record.pop("methods", {}))
        if not isinstance(stored, dict):
            raise ConfigError(f"{path} cannot be read: its algorithms are no object.")
        rows = {name: AlgorithmRow.from_record(row, path) for name, row in stored.items()}
        read = from_record(cls, {**record, "algorithms": {}}, path)
        return dataclasses.replace(read, algorithms=rows)

    def table(self) -> Table:
        """Table with a line per algorithm."""
        spread = "seeds" if len(self.seeds) > 1 else "tasks"
        title = f"{self.metric} on {self.tasks} held-out tasks of {self.preset}"
        rows = [Row(name, row.cells()) for name, row in self.algorithms.items()]
        return Table(
            [*map(formatting.steps, self.steps), "iterations", "it/s", "peak MB"],
            [Body("", "", rows)],
            corner="algorithm",
            title=f"{title}; ± 95 % over {spread}",
        )

    def __str__(self) -> str:
        lines = [str(self.table())]
        lines += [f"{name}: does not apply. {why}" for name, why in self.refused.items()]
        lines += [f"{name}: failed. {why}" for name, why in self.failed.items()]
        if self.path is not None:
            lines.append(f"Written: {self.path}, {self.path.with_suffix('.csv').name}")
        return "\n".join(lines)


def compare(
    preset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PRESET")],
    *,
    algorithms: tuple[str, ...] = (),
    iterations: int | None = None,
    seeds: tuple[int, ...] = (0,),
    tasks: int | None = None,
    out: Path | None = None,
    device: str | None = None,
    quiet: bool = False,
) -> AlgorithmComparison:
    """Train every algorithm on one problem, on as much data each; one table.

    Args:
        preset: The problem.
        algorithms: Algorithms, by name or MODULE:CLASS; all that apply if not given.
        iterations: Meta-iterations of the preset's own algorithm, which set the budget; as in the
            preset if not given.
        seeds: Train each algorithm once per seed.
        tasks: Held-out tasks; 40, or 600 where a run learns from examples, if not given.
        out: Folder of all runs; runs/compare-PRESET if not given. What is trained there is kept,
            and an interrupted comparison goes on.
        device: Where learning runs; as in the preset if not given.
        quiet: Show no progress.

    Raises:
        ConfigError: an unknown preset, or what `compare_algorithms` raises.
    """
    if preset not in PRESETS:
        raise ConfigError(f"Unknown preset {preset!r}: use one of {', '.join(PRESETS)}.")
    require_at_least(1, iterations=iterations)
    config = PRESETS[preset][1]
    config = dataclasses.replace(
        config,
        iterations=config.iterations if iterations is None else iterations,
        device=config.device if device is None else device,
    )
    out = out or Path("runs") / f"compare-{config.preset}"
    return compare_algorithms(config, out, names=algorithms, seeds=seeds, tasks=tasks, quiet=quiet)


def compare_algorithms(
    config: TrainConfig,
    out: Path,
    *,
    names: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0,),
    tasks: int | None = None,
    quiet: bool = False,
) -> AlgorithmComparison:
    """Train, evaluate and time every algorithm, and write `algorithms.json` and `.csv`.

    One is trained with the settings that it has there by default (`Algorithm.default_overrides`),
    for as many meta-iterations as have the same number of examples (or episodes) as
    `config.iterations` of the configuration's own. One that starts from another's run gives half of
    the data to that. What is trained is kept, in OUT/ALGORITHM/seed-S; a comparison that was
    interrupted goes on.

    Args:
        config: the problem, with its own algorithm.
        out: the folder of all runs.
        names: of algorithms; all of the table that apply if empty.
        seeds: of the trainings.
        tasks: held-out tasks; as of `rlmaml evaluate` if None.
        quiet: show no progress.

    Raises:
        ConfigError: an unknown algorithm, invalid seeds or tasks, or runs there that were made with
            other settings.
    """
    _check(seeds, tasks)
    chosen, refused = _applicable(config, names)
    budget = config.iterations * data_per_task(config)
    rows: dict[str, AlgorithmRow] = {}
    failed: dict[str, str] = {}
    for name, own in chosen.items():
        first = own.algorithm_class.starts_from
        share = Fraction(budget, 2 if first else 1)
        before = _for_budget(config, first, share) if first else None
        work = _Work(_for_budget(config, name, share), before, seeds, tasks)
        try:
            rows[name] = _row(work, out / name.replace(":", "-"), quiet)
        except (FloatingPointError, TrainingStopped) as problem:  # the others can do no better
            failed[name] = str(problem)
            say(f"{name}: {problem}")
            continue
        shown = "  ".join(map(str, rows[name].cells()))
        say(f"{name}: {shown}")
    if not rows:
        raise ConfigError(f"No algorithm could be compared. {' '.join(failed.values())}")
    any_row = next(iter(rows.values()))
    return AlgorithmComparison(
        preset=config.preset,
        metric=any_row.metric,
        steps=any_row.steps,
        tasks=any_row.tasks,
        seeds=seeds,
        data_per_task_and_iteration=data_per_task(config),
        iterations=config.iterations,
        algorithms=rows,
        refused=refused,
        failed=failed,
        versions=versions(),
        command=command(),
    ).save(out / "algorithms.json")


def _check(seeds: tuple[int, ...], tasks: int | None) -> None:
    """Check what is drawn, before anything is trained.

    Raises:
        ConfigError: no tasks; no seeds, negative ones, or one given twice.
    """
    require_at_least(1, tasks=tasks)
    if not seeds:
        raise ConfigError("--seeds needs at least one number, got none.")
    require_at_least(0, seeds=min(seeds))
    if len(set(seeds)) < len(seeds):
        given = formatting.listed(seeds)
        raise ConfigError(f"--seeds must differ, got {given}: name each once.")


def _applicable(
    config: TrainConfig, names: tuple[str, ...]
) -> tuple[dict[str, TrainConfig], dict[str, str]]:
    """The configuration by each algorithm; and by name, why others do not apply.

    Raises:
        ConfigError: an algorithm that was asked for does not.
    """
    chosen, refused = {}, {}
    for name in names or library.TABLE:
        try:
            chosen[name] = with_algorithm(config, name)
        except ConfigError as problem:
            if name in names:
                raise
            refused[name] = str(problem)
    return chosen, refused


def _for_budget(config: TrainConfig, name: str, data: Fraction) -> TrainConfig:
    """The run by an algorithm that is as long as to draw so many examples (or episodes) a task."""
    iterations = max(1, round(data / data_per_task(with_algorithm(config, name))))
    # Chosen again, because schedules are made for a number of iterations.
    return with_algorithm(dataclasses.replace(config, iterations=iterations), name)


class _Work(NamedTuple):
    """Settings that a row is made from."""

    config: TrainConfig
    before: TrainConfig | None  # the run that it starts from
    seeds: tuple[int, ...]
    tasks: int | None

    def to_record(self) -> Record:
        return {
            "config": self.config.to_dict(),
            "before": self.before and self.before.to_dict(),
            "seeds": list(self.seeds),
            "tasks": self.tasks,
        }

    def is_of(self, record: object, source: Path) -> bool:
        """True if a row's `made_from`, an earlier version's too, is the same, as its file says."""
        if not isinstance(record, dict):
            return False
        read = dict(record)
        try:
            with trust.reading(source):
                for name in ("config", "before"):
                    if isinstance(read.get(name), dict):
                        read[name] = TrainConfig.from_dict(read[name]).to_dict()
        except ConfigError:  # of settings that this version does not have
            return False
        return read == self.to_record()


def _row(work: _Work, out: Path, quiet: bool) -> AlgorithmRow:
    """One algorithm's row; as kept, if it was made from the same."""
    kept = out / "row.json"
    if kept.exists() and work.is_of((record := read_json(kept)).get("made_from"), kept):
        return AlgorithmRow.from_record(record, kept)
    folders = [_trained(work, out, seed, quiet) for seed in work.seeds]
    steps = STEPS[work.config.data]
    asked = EvalConfig(tasks=work.tasks, steps=max(steps))
    results = [_evaluated(folder, asked, quiet) for folder in folders]
    scores = np.stack([each.scores[each.metric][:, list(steps)] for each in results])
    mean, half = statistics.over_runs(scores.mean(1), scores[0])
    row = AlgorithmRow(
        metric=results[0].metric,
        steps=steps,
        tasks=len(results[0].tasks),
        mean=mean,
        ci95=half,
        per_seed=scores.mean(1),
        iterations=work.config.iterations,
        iterations_before=0 if work.before is None else work.before.iterations,
        training_seconds=tuple(folder.read_metrics()[-1]["seconds"] for folder in folders),
        inner_steps=work.config.inner.steps,
        cost=profile.in_own_process(work.config),
        made_from=work.to_record(),
    )
    write_json(kept, row.to_record())
    return row


def _trained(work: _Work, out: Path, seed: int, quiet: bool) -> RunDir:
    """The algorithm's run of a seed, after the run that it starts from, if it needs one."""
    init = None
    if work.before is not None:
        start = RunDir(out / f"seed-{seed}-{work.before.algorithm}")
        config = dataclasses.replace(work.before, seed=seed)
        init = baselines.trained(baselines.prepared(start, config), quiet=quiet).path
    planned = baselines.prepared(
        RunDir(out / f"seed-{seed}"), dataclasses.replace(work.config, seed=seed)
    )
    return baselines.trained(planned, init=init, quiet=quiet)


def _evaluated(folder: RunDir, config: EvalConfig, quiet: bool) -> Evaluation:
    return measure(folder, config, quiet=quiet).save(folder.evaluation)
