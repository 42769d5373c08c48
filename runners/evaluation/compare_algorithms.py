"""`rlmaml compare`: algorithms on one problem, with the same budget of data for each."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import tyro

from rlmaml import algorithms as library
from rlmaml import trust
from rlmaml.build import data_per_task
from rlmaml.config import Options, TrainConfig
from rlmaml.errors import ConfigError
from runners import formatting
from runners.command_line.terminal import say
from runners.errors import TrainingStopped, require_at_least
from runners.evaluation import baselines, profile, statistics
from runners.evaluation.algorithm_rows import AlgorithmComparison, AlgorithmRow
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.measure import measure
from runners.evaluation.records import Record
from runners.evaluation.results import Evaluation
from runners.evaluation.trials import STEPS, Search, TrialConfig, budgeted
from runners.io import command, read_json, versions, write_json
from runners.presets import PRESETS, with_algorithm
from runners.run_dir import RunDir


def compare(
    preset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PRESET")],
    *,
    algorithms: tuple[str, ...] = (),
    iterations: int | None = None,
    seeds: tuple[int, ...] = (0,),
    tasks: int | None = None,
    trials: int = TrialConfig.count,
    trial_seed: int = TrialConfig.seed,
    trial_iterations: int | None = None,
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
        trials: Look for each algorithm's settings first, by so many trials on validation tasks, the
            first of which has its own settings; the others have other sizes and rates, and what
            else the algorithm says (Algorithm.tried). 0 takes its own settings.
        trial_seed: Seed of the trials; none of --seeds.
        trial_iterations: Length of a trial, as --iterations; that of the comparison if not given.
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
    how = TrialConfig(trials, trial_seed, trial_iterations)
    return compare_algorithms(
        config, out, names=algorithms, seeds=seeds, tasks=tasks, trials=how, quiet=quiet
    )


def compare_algorithms(
    config: TrainConfig,
    out: Path,
    *,
    names: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0,),
    tasks: int | None = None,
    trials: TrialConfig = TrialConfig(),  # noqa: B008 - frozen
    quiet: bool = False,
) -> AlgorithmComparison:
    """Train, evaluate and time every algorithm, and write `algorithms.json` and `.csv`.

    One is trained with the settings that it has there by default (`Algorithm.default_overrides`),
    or with those that are best of a number of trials (`runners.evaluation.trials`). It is trained
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
        trials: how settings are looked for.
        quiet: show no progress.

    Raises:
        ConfigError: an unknown algorithm, invalid seeds or tasks, or runs there that were made with
            other settings.
    """
    _check(seeds, tasks)
    trials.check(seeds)
    chosen, refused = _applicable(config, names)
    rows: dict[str, AlgorithmRow] = {}
    failed: dict[str, str] = {}
    for name in chosen:
        place = out / name.replace(":", "-")
        try:
            found = _found(config, name, trials, tasks, place / "trials", quiet)
            data, before = _shared(config, name, config.iterations)
            work = _Work(budgeted(config, name, data, found), before, seeds, tasks)
            row = _row(work, place, quiet)
            rows[name] = dataclasses.replace(row, chosen=found, trials=trials.count)
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


def _shared(config: TrainConfig, name: str, iterations: int) -> tuple[Fraction, TrainConfig | None]:
    """Data of every task for an algorithm, of a budget in iterations of the configuration's own.

    Returns:
        Examples (or episodes), and the run that it starts from, which has as many; else None.
    """
    first = library.get_algorithm(name).starts_from
    data = Fraction(iterations * data_per_task(config), 2 if first else 1)
    return data, budgeted(config, first, data, {}) if first else None


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
    folders = [
        _trained(
            dataclasses.replace(work.config, seed=seed), work.before, out / f"seed-{seed}", quiet
        )
        for seed in work.seeds
    ]
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


def _found(
    config: TrainConfig,
    name: str,
    trials: TrialConfig,
    tasks: int | None,
    out: Path,
    quiet: bool,
) -> Options:
    """The settings that are best of an algorithm's trials, where they are not its own.

    Args:
        config: the problem.
        name: of the algorithm.
        trials: how many, of what length.
        tasks: validation tasks.
        out: folder of the trials.
        quiet: show no progress.
    """
    if not trials.count:
        return {}
    data, before = _shared(config, name, trials.iterations or config.iterations)

    def train(config: TrainConfig, folder: Path) -> RunDir:
        return _trained(config, before, folder, quiet)

    return Search(config, name, data, tasks, trials, out).best(train, quiet)


def _trained(config: TrainConfig, before: TrainConfig | None, folder: Path, quiet: bool) -> RunDir:
    """A run in a folder, after the run of its seed that it starts from, beside it, if any."""
    init = None
    if before is not None:
        start = folder.with_name(f"seed-{config.seed}-{before.algorithm}")
        init = _trained(dataclasses.replace(before, seed=config.seed), None, start, quiet).path
    return baselines.trained(baselines.prepared(RunDir(folder), config), init=init, quiet=quiet)


def _evaluated(folder: RunDir, config: EvalConfig, quiet: bool) -> Evaluation:
    return measure(folder, config, quiet=quiet).save(folder.evaluation)
