"""Results of `rlmaml compare`: a row for each algorithm."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlmaml.config import Options
from rlmaml.errors import ConfigError
from runners import formatting
from runners.evaluation import tables
from runners.evaluation.profile import Cost
from runners.evaluation.records import Record, from_record, to_record
from runners.evaluation.tables import Body, Cell, Row, Table
from runners.io import read_json, write_csv, write_json

Floats = NDArray[np.float64]


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
    chosen: Options = field(default_factory=dict)
    """Settings that trials found, where they are not the algorithm's own there."""
    trials: int = 0
    """Trials that they are the best of; 0 without any."""
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

    def found(self) -> str:
        """The settings in words; empty without trials."""
        if not self.trials:
            return ""
        settings = ", ".join(f"{name} {value}" for name, value in self.chosen.items())
        return f"{settings or 'its own settings'}, the best of {self.trials} trials"

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
        found = {name: row.found() for name, row in self.algorithms.items()}
        lines += [f"{name}: {how}" for name, how in found.items() if how]
        lines += [f"{name}: does not apply. {why}" for name, why in self.refused.items()]
        lines += [f"{name}: failed. {why}" for name, why in self.failed.items()]
        if self.path is not None:
            lines.append(f"Written: {self.path}, {self.path.with_suffix('.csv').name}")
        return "\n".join(lines)
