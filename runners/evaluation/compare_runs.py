"""Runs beside their baselines, on the same held-out tasks with the same random draws."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlmaml import processes
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from runners.command_line.terminal import say
from runners.errors import UnwrittenError
from runners.evaluation import plots, statistics
from runners.evaluation.baselines import (
    Baseline,
    check_names,
    check_step_sizes,
    plan,
    trained,
)
from runners.evaluation.eval_config import EvalConfig
from runners.evaluation.grouping import by_method, check_place, check_runs, common_folder
from runners.evaluation.measure import measure
from runners.evaluation.results import ComparedMethod, Comparison, Evaluation
from runners.evaluation.summaries import Group, kinds_of
from runners.io import command, versions
from runners.run_dir import RunDir

Floats = NDArray[np.float64]


def compare_runs(
    folders: list[RunDir],
    config: EvalConfig | None = None,
    *,
    against: tuple[Baseline, ...] = (),
    pretrained_step_sizes: tuple[float, ...] = (),
    out: Path | None = None,
    quiet: bool = False,
) -> Comparison:
    """Evaluate runs and their baselines; write `comparison.json`, `.csv` and a plot of them.

    Each run's own `evaluation.json` is written too.

    Args:
        folders: runs of one family. Those that differ in nothing but the seed are runs of one
            method; other settings make another method, named by them.
        config: what to draw and how to adapt; its defaults if None.
        against: baselines of the first method's runs, trained in their folders where they are not
            there yet.
        pretrained_step_sizes: sizes of the inner steps to try for `pretrained`. The one that is
            best after any number of steps, on these very tasks, is in the table; the means of the
            others are in the file.
        out: folder for the files; the run's, or what the runs lie in together, if None.
        quiet: show no progress.

    Raises:
        ConfigError: runs of several families, a folder that holds another comparison, an unknown
            baseline, and all that training and evaluating raise.
        FloatingPointError: a policy's parameters that have blown up.
        UnwrittenError: a folder that cannot be written to; with the comparison.
    """
    against = check_names(against)
    check_step_sizes(pretrained_step_sizes, against)
    configs = [folder.read_config() for folder in folders]
    check_runs(folders, configs)
    out = out or common_folder([folder.path for folder in folders])
    check_place(out, folders)
    config = _for_all(config or EvalConfig(), configs)
    runs = by_method(folders, configs)
    main = next(iter(runs))
    # What is asked for is found out to be possible before hours go into baselines.
    plans = {
        name: [plan(folder, name, device=config.device) for folder in runs[main]]
        for name in against
    }
    unwritten: list[Exception] = []
    results = {
        name: [_evaluated(folder, config, unwritten, quiet) for folder in places]
        for name, places in runs.items()
    }
    of_baselines = dataclasses.replace(config, checkpoint=None)
    tried: dict[str, Floats] = {}
    for name, planned in plans.items():
        runs[name] = [trained(each, quiet=quiet) for each in planned]
        own = of_baselines
        if name == "oracle":
            own = dataclasses.replace(own, steps=0)
        elif name == "pretrained" and pretrained_step_sizes:
            own, tried = _best_size(runs[name], own, pretrained_step_sizes, quiet)
        results[name] = [_evaluated(folder, own, unwritten, quiet) for folder in runs[name]]
    compared = _comparison(runs, results, tried, out)
    if not processes.is_first():
        return compared
    try:
        compared = compared.save(out / "comparison.json")
        plots.comparison(compared, out / "plots" / "comparison.png", compared.preset)
    except (ConfigError, OSError) as problem:
        unwritten.append(problem)
    if unwritten:
        raise UnwrittenError(unwritten[0], compared) from unwritten[0]
    return compared


def _best_size(
    folders: list[RunDir], config: EvalConfig, sizes: tuple[float, ...], quiet: bool
) -> tuple[EvalConfig, dict[str, Floats]]:
    """The evaluation with the size of steps that is best, and means [K+1] by size.

    Best is the mean after the number of steps, one or more, that suits a size best. Means that are
    not finite are no best, nor is a size with which a policy blows up.
    """
    tried, best = {}, {}
    for size in sizes:
        own = dataclasses.replace(config, step_size=size)
        best[size] = -np.inf
        try:
            found = [measure(folder, own, quiet=quiet) for folder in folders]
        except FloatingPointError:
            continue
        scores = statistics.finite(np.stack([each.scores[each.metric] for each in found]))
        tried[f"{size:g}"] = means = statistics.mean(scores)
        signed = means if found[0].higher_is_better else -means
        best[size] = np.nanmax(signed[min(1, len(means) - 1) :], initial=-np.inf)
    return dataclasses.replace(config, step_size=max(best, key=best.__getitem__)), tried


def _for_all(config: EvalConfig, configs: list[TrainConfig]) -> EvalConfig:
    """Settle what all runs are evaluated with.

    Raises:
        ConfigError: one run's checkpoint for several runs.
    """
    if config.checkpoint not in (None, Path("best")) and len(configs) > 1:
        raise ConfigError(
            f"--checkpoint {config.checkpoint} is one run's, and several are compared: use `best`, "
            "or the newest."
        )
    if configs[0].data == "examples" and config.queries is None:
        return dataclasses.replace(config, queries=configs[0].examples.queries)
    return config


def _evaluated(
    folder: RunDir, config: EvalConfig, unwritten: list[Exception], quiet: bool
) -> Evaluation:
    """Measure a run; that its folder could not be written to is added to `unwritten`."""
    try:
        result = measure(folder, config, quiet=quiet)
    except FloatingPointError as problem:
        raise FloatingPointError(f"{folder.path}: {problem}") from problem
    try:
        if processes.is_first():
            result = result.save(folder.evaluation)
    except ConfigError as problem:
        unwritten.append(problem)
    planned = folder.read_config().iterations
    if result.iteration < planned and config.checkpoint is None:
        say(
            f"{folder.path} has done {result.iteration} of its {planned} iterations; baselines "
            "have the budget of all of them.",
        )
    return result


def _comparison(
    runs: dict[str, list[RunDir]],
    results: dict[str, list[Evaluation]],
    tried: dict[str, Floats],
    out: Path,
) -> Comparison:
    """All evaluations in one result; the first method is the one that is compared."""
    main = next(iter(runs))
    first = results[main][0]
    scores = {
        name: np.stack([run.scores[run.metric] for run in evaluations])
        for name, evaluations in results.items()
    }
    finite = {name: statistics.finite(values) for name, values in scores.items()}
    reference = "random" if "random" in runs else main
    methods = {
        name: _method(folders, results[name], out, finite[name], scores[name])
        for name, folders in runs.items()
    }
    if tried:
        methods["pretrained"] = dataclasses.replace(methods["pretrained"], sizes_tried=tried)
    if "oracle" in runs:
        ends = finite[reference][..., :1], finite["oracle"]
        methods |= {
            name: _with_gap(method, finite[name], *ends)
            for name, method in methods.items()
            if name != "oracle"
        }
    return Comparison(
        metric=first.metric,
        note=first.note,
        preset=first.preset,
        steps=first.steps,
        tasks=first.tasks,
        episodes=first.episodes,
        shots=first.shots,
        queries=first.queries,
        step_size=first.step_size,
        later_step_size=first.later_step_size,
        later_step_share=first.later_step_share,
        deterministic=first.deterministic,
        split=first.split,
        seed=first.seed,
        checkpoint=first.checkpoint,
        versions=versions(),
        command=command(),
        reference=reference if "oracle" in runs else None,
        methods=methods,
    )


def _method(
    folders: list[RunDir], results: list[Evaluation], out: Path, finite: Floats, scores: Floats
) -> ComparedMethod:
    """Summarize runs' scores [R, N, K+1]."""
    kinds = kinds_of(results[0].tasks)
    later = [np.nan if each.later_step_size is None else each.later_step_size for each in results]
    return ComparedMethod(
        runs=tuple(_relative(folder.path, out) for folder in folders),
        seeds=tuple(folder.read_config().seed for folder in folders),
        iteration=tuple(each.iteration for each in results),
        checkpoint_sha256=tuple(each.checkpoint_sha256 or "" for each in results),
        train_env_steps=tuple(each.train_env_steps for each in results),
        train_seconds=np.array([each.train_seconds for each in results], np.float64),
        step_size=np.array([each.step_size for each in results], np.float64),
        later_step_size=np.array(later),
        run_means=finite.mean(1),
        mean=statistics.mean(finite),
        mean_ci95=statistics.interval(finite, kinds),
        iqm=statistics.interquartile_mean(finite),
        groups={} if kinds is None else _groups(results[0].groups, finite, kinds),
        scores=scores,
    )


def _groups(names: Iterable[str], scores: Floats, kinds: np.ndarray) -> dict[str, Group]:
    """Means of scores [R, N, K+1] by kind of task, with their intervals over runs."""
    groups = {}
    for name, kind in zip(names, np.unique(kinds), strict=True):
        own = scores[:, kinds == kind]
        groups[name] = Group(own.shape[1], *statistics.over_runs(own.mean(1), own[0]))
    return groups


def _with_gap(
    method: ComparedMethod, scores: Floats, reference: Floats, oracle: Floats
) -> ComparedMethod:
    """With the share of the gap between reference and oracle that is closed."""
    gap = statistics.gap_closed(scores, reference, oracle)
    interval = statistics.gap_interval(scores, reference, oracle)
    return dataclasses.replace(method, gap_closed=gap, gap_closed_ci95=interval)


def _relative(path: Path, start: Path) -> str:
    return Path(os.path.relpath(path.resolve(), start.resolve())).as_posix()
