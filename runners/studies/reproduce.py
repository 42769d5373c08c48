"""`rlmaml reproduce`: a row of the MAML paper's table, trained and measured as its authors did."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray

from rlmaml import checkpoint
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from runners.errors import require_at_least
from runners.evaluation import baselines, statistics, tables
from runners.evaluation.baselines import Baseline, PlannedRun
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.measure import measure
from runners.evaluation.records import Record, from_record, to_record
from runners.evaluation.results import Evaluation
from runners.io import command, read_json, versions, write_json, write_text
from runners.plotting import AFTER, BEFORE
from runners.presets import PRESETS
from runners.presets.maml_paper import OURS, ROWS, Row
from runners.run_dir import RunDir
from runners.training import plots

Floats = NDArray[np.float64]

NAMES = tuple(name for name in PRESETS if name.removesuffix(OURS) in ROWS)
"""Presets that can be reproduced: the authors' settings, and ours for the same environment."""

_BESIDE: tuple[Baseline, ...] = ("random", "pretrained", "oracle")
_ORDER = ("maml", *_BESIDE)


@dataclass(frozen=True, eq=False)
class MeasuredRun:
    """A run, and its mean returns over the authors' tasks."""

    steps: tuple[int, ...]
    """0 .. K."""
    episodes: int
    seed: int
    """Seed of the training; the evaluation's is 0."""
    deterministic: bool
    step_size: float
    later_step_size: float | None
    iterations: tuple[int, ...]
    """Done, and planned."""
    env_steps: int
    minutes: float
    """Both of the training."""
    mean: Floats
    """[K+1]."""


@dataclass(frozen=True, eq=False)
class MeasuredMethod:
    """MAML or a baseline: means over tasks and runs, and the half-widths of their intervals."""

    mean: Floats
    """[K+1]."""
    ci95: Floats
    over: str
    """Units that the interval is over: runs, or the tasks of a single one."""
    runs: tuple[MeasuredRun, ...]

    @classmethod
    def of(cls, runs: Sequence[tuple[MeasuredRun, Floats]]) -> MeasuredMethod:
        """The means over runs, each with the returns [N, K+1] of its tasks."""
        per_run = np.stack([returns.mean(0) for _, returns in runs])
        mean, half = statistics.over_runs(per_run, runs[0][1])
        over = "runs" if len(runs) > 1 else "tasks"
        return cls(mean, half, over, tuple(run for run, _ in runs))


@dataclass(frozen=True, eq=False)
class PaperFigures:
    """Mean returns that the paper's authors had, after 0, 1, 2 ... inner steps."""

    maml: tuple[float, ...]
    pretrained: tuple[float, ...] | None
    oracle: float


@dataclass(frozen=True, eq=False)
class Reproduction:
    """A row of the table: `reproduction.json`."""

    preset: str
    settings: str
    """Whose: "our" or "authors'"."""
    row: str
    paper: PaperFigures
    methods: dict[str, MeasuredMethod]
    config: Record
    versions: dict[str, str] = field(default_factory=dict)
    command: str | None = None
    """The command line that made it; None if it was made in Python."""
    path: Path | None = field(default=None, metadata={"stored": False})
    """The file that it was written to, for the terminal."""

    def save(self, path: Path) -> Reproduction:
        """Write it as JSON.

        Returns:
            The same, knowing its `path`.
        """
        write_json(path, to_record(self))
        return dataclasses.replace(self, path=path)

    @classmethod
    def load(cls, path: Path) -> Reproduction:
        """Read what `save`, or an earlier version, wrote.

        Raises:
            FileNotFoundError: a missing file.
            ConfigError: a file that cannot be read, or lacks a field.
        """
        return from_record(cls, read_json(path), path)

    def __str__(self) -> str:
        lines = [table([self])]
        if self.path is not None:
            both = self.path.parent.parent / "table.md"
            lines.append(f"Written: {self.path}, learning.png; {both}")
        return "\n".join(lines)


def reproduce(
    row: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ROW")],
    *,
    seeds: int = 3,
    baseline_seeds: int = 1,
    out: Path = Path("runs/paper"),
    measure_only: bool = False,
    device: str | None = None,
    quiet: bool = False,
) -> Reproduction:
    """Train a ROW of the MAML paper's table, and measure it as its authors did.

    ROW is paper-point, paper-half-cheetah-vel, paper-half-cheetah-dir, paper-ant-vel or
    paper-ant-dir, with its authors' settings; cheetahs and ants with -ours at the end have ours.
    Called again, it goes on where it was.

    The authors' 40 tasks, the stochastic policy, a linear baseline fitted anew each time, 4000 time
    steps a task and step (ant direction 8000), the first step of their size (with our settings, of
    ours) and later ones of their share of it. Results are written after every run that finishes:
    OUT/ROW/reproduction.json and learning.png, and OUT/table.md of all rows that are there.

    Args:
        row: The row.
        seeds: Meta-train with seeds 0, 1 ... so many.
        baseline_seeds: Train the baselines (pre-trained, oracle; random is untrained) of the first
            so many.
        out: Folder of all rows; table.md in it has those that there are.
        measure_only: Train nothing: measure the checkpoints that there are.
        device: Where learning runs; as in the preset if not given.
        quiet: Show no progress.

    Raises:
        ConfigError: another row, or what training and evaluating raise.
    """
    if row not in NAMES:
        raise ConfigError(f"{row!r} is no row of the paper: use one of {', '.join(NAMES)}.")
    require_at_least(1, seeds=seeds)
    require_at_least(0, baseline_seeds=baseline_seeds)
    wanted = {"maml": 0 if measure_only else seeds}
    wanted |= dict.fromkeys(_BESIDE, 0 if measure_only else min(seeds, baseline_seeds))
    study = _Study(row, out, device, quiet)
    plans = study.plans(wanted)  # found possible before hours are spent
    for (name, seed), plan in plans.items():  # what there is stays in the table
        there = checkpoint.available(plan.folder.checkpoints)
        if plan.finished or (measure_only and there):
            study.measure(name, seed, plan)
    if not study.measured and measure_only:
        raise ConfigError(f"{out / row} has no run: leave out --measure-only.")
    if study.measured:
        study.write()
    for (name, seed), plan in plans.items():
        if seed < wanted[name] and not plan.finished:
            baselines.trained(plan, quiet=quiet)
            study.measure(name, seed, plan)
            study.write()
    return study.result()


class _Study:
    """One row: its runs, and what has been measured so far."""

    def __init__(self, name: str, out: Path, device: str | None, quiet: bool) -> None:
        self.name, self.out, self.device, self.quiet = name, out, device, quiet
        self.config = PRESETS[name][1]
        self.row = ROWS[name.removesuffix(OURS)]
        self.measured: dict[str, dict[int, tuple[MeasuredRun, Floats]]] = {}
        self.curves: dict[int, plots.Metrics] = {}

    def plans(self, wanted: Mapping[str, int]) -> dict[tuple[str, int], PlannedRun]:
        """Plan what is wanted and what there is, by method and seed: runs first, seed by seed."""
        folder = self.out / self.name
        there = [int(path.name[5:]) for path in folder.glob("seed-*") if path.name[5:].isdigit()]
        plans = {}
        for method in wanted:
            for seed in sorted({*range(wanted[method]), *there}):
                run = RunDir(folder / f"seed-{seed}")
                config = dataclasses.replace(self.config, seed=seed)
                if method in _BESIDE:
                    run = RunDir(run.path / "baselines" / method)
                    config = baselines.baseline_config(config, method)
                if seed < wanted[method] or run.path.exists():
                    plans[method, seed] = baselines.prepared(run, config, device=self.device)
        return plans

    def measure(self, method: str, seed: int, plan: PlannedRun) -> None:
        """Measure a run by the authors' protocol; one measured so already is read."""
        folder, config = plan.folder, plan.config
        protocol, tasks = self._protocol(method, config), self.row.tasks()
        result = _kept(folder, protocol, tasks)
        if result is None:
            result = measure(folder, protocol, tasks=tasks, quiet=self.quiet)
            result.save(folder.evaluation)
        if result.iteration < config.iterations:
            done = f"{result.iteration} of its {config.iterations} iterations"
            print(f"{folder.path} has done {done}.", file=sys.stderr)
        metrics = folder.read_metrics()
        returns = result.scores["return"]
        run = MeasuredRun(
            steps=result.steps,
            episodes=self.row.episodes,
            seed=config.seed,
            deterministic=False,
            step_size=config.inner.step_size if result.step_size is None else result.step_size,
            later_step_size=result.later_step_size,
            iterations=(result.iteration, config.iterations),
            env_steps=result.train_env_steps,
            minutes=metrics[-1]["seconds"] / 60 if metrics else 0.0,
            mean=returns.mean(0),
        )
        self.measured.setdefault(method, {})[seed] = run, returns
        if method == "maml":
            self.curves[seed] = metrics

    def _protocol(self, method: str, config: TrainConfig) -> EvalConfig:
        if method == "oracle":
            return EvalConfig(steps=0, episodes=self.row.episodes, device=self.device)
        ours = config.preset.endswith(OURS)
        size = config.inner.step_size if ours else self.row.sizes[method]
        return EvalConfig(
            steps=len(self.row.maml) - 1,
            episodes=self.row.episodes,
            step_size=size,
            later_step_share=self.row.later,
            device=self.device,
        )

    def result(self) -> Reproduction:
        """Means over tasks and runs of what has been measured, by method."""
        methods = {
            method: MeasuredMethod.of([by_seed[seed] for seed in sorted(by_seed)])
            for method, by_seed in sorted(self.measured.items(), key=lambda it: _ORDER.index(it[0]))
        }
        return Reproduction(
            preset=self.name,
            settings="our" if self.name.endswith(OURS) else "authors'",
            row=self.name.removesuffix(OURS),
            paper=PaperFigures(self.row.maml, self.row.pretrained, self.row.oracle),
            methods=methods,
            config=self.config.to_dict(),
            versions=versions(),
            command=command(),
            path=self.out / self.name / "reproduction.json",
        )

    def write(self) -> None:
        """Write the row, its learning curve, and the table of all rows that are there."""
        folder = self.out / self.name
        self.result().save(folder / "reproduction.json")
        _draw(self.name, self.row, self.curves, folder / "learning.png")
        write_text(self.out / "table.md", table(_rows(self.out)))


def _rows(out: Path) -> list[Reproduction]:
    """All rows that are there; those that cannot be read are told of, and left out."""
    rows = []
    for name in NAMES:
        try:
            rows.append(Reproduction.load(out / name / "reproduction.json"))
        except FileNotFoundError:
            continue
        except ConfigError as problem:  # the row just measured may have taken hours to train
            print(f"A row is left out of table.md: {problem}", file=sys.stderr, flush=True)
    return rows


def _kept(folder: RunDir, protocol: EvalConfig, tasks: np.ndarray) -> Evaluation | None:
    """The evaluation of the newest checkpoint that is there already, if it is by this protocol."""
    try:
        kept = Evaluation.load(folder.evaluation)
    except FileNotFoundError:
        return None
    newest = checkpoint.latest(folder.checkpoints)
    same = (
        kept.measured(int(newest.name), checkpoint.meta_digest(newest))
        and (kept.steps[-1], kept.episodes, kept.seed) == (protocol.steps, protocol.episodes, 0)
        and not kept.deterministic
        and protocol.step_size in (None, kept.step_size)
        and kept.later_step_size == _later(protocol, kept.step_size)
        and kept.task_list == tasks.tolist()
    )
    return kept if same else None


def _later(protocol: EvalConfig, first: float | None) -> float | None:
    """The size of later steps by a protocol; None if it is that of the first."""
    share = protocol.later_step_share
    return None if first is None or share in (None, 1.0) else share * first


def _draw(name: str, row: Row, curves: Mapping[int, plots.Metrics], path: Path) -> None:
    """Plot the mean learning curve of the runs, beside the paper's figures."""
    runs = [curves[seed] for seed in sorted(curves) if curves[seed]]
    if not runs:
        return
    shortest = min(map(len, runs))  # a mean over fewer runs would jump
    mean = [
        {
            key: float(np.mean([run[i][key] for run in runs]))
            for key in ("iteration", "env_steps", "return/pre", "return/post")
        }
        for i in range(shortest)
    ]
    levels = [
        ("paper, before", row.maml[0], BEFORE),
        ("paper, after 1 step", row.maml[1], AFTER),
    ]
    many = f", mean of {len(runs)} seeds" if len(runs) > 1 else ", seed 0"
    plots.learning_curve(mean, path, name + many, runs if len(runs) > 1 else (), levels)


def table(results: Sequence[Reproduction]) -> str:
    """Rows of the table in Markdown: the paper's figures, and under them what there is of ours."""
    most = max(len(result.paper.maml) for result in results)
    steps = " | ".join(f"{k} step{'s' * (k != 1)}" for k in range(most))
    lines = [
        f"| | {steps} | seeds | iterations | million env steps | min |",
        "|---" * (most + 5) + "|",
    ]
    shown: set[str] = set()
    for result in results:
        if result.row not in shown:
            shown.add(result.row)
            lines += _paper_lines(result, most)
        for name, method in result.methods.items():
            what = "MAML" if name == "maml" else name
            lines.append(_line(f"{what}, {result.settings} settings", method, most))
    legend = (
        "± is half a 95 % interval: over seeds by Student's t, or where there is one seed over its "
        "40 tasks, which does not say how seeds differ. Environment steps and minutes are those of "
        "training a run, the mean over seeds."
    )
    return "\n".join([*lines, "", legend, ""])


def _paper_lines(result: Reproduction, most: int) -> list[str]:
    paper = result.paper
    labeled = (
        (f"**{result.row.removeprefix('paper-')}**: paper, MAML", paper.maml),
        ("paper, pre-trained", paper.pretrained),
        ("paper, oracle", (paper.oracle,)),
    )
    return [
        f"| {label} | {_cells([f'{value:.1f}' for value in values], most)} | | | | |"
        for label, values in labeled
        if values is not None
    ]


def _line(label: str, method: MeasuredMethod, most: int) -> str:
    runs = method.runs
    spread = tables.spread_row(label, method.mean, method.ci95, 1)
    cells = [str(cell).replace("−", "-") for cell in spread.cells]
    if label.startswith("MAML"):
        cells[1:2] = [f"**{cell}**" for cell in cells[1:2]]
    done = sorted({run.iterations[0] for run in runs})
    planned = runs[0].iterations[1]
    iterations = str(planned) if done == [planned] else f"{'/'.join(map(str, done))} of {planned}"
    steps = np.mean([run.env_steps for run in runs]) / 1e6
    minutes = np.mean([run.minutes for run in runs])
    end = f"{len(runs)} | {iterations} | {steps:.1f} | {minutes:.1f}"
    return f"| {label} | {_cells(cells, most)} | {end} |"


def _cells(cells: list[str], most: int) -> str:
    return " | ".join([*cells, *[""] * (most - len(cells))])
