"""Evaluation: adapt to tasks never seen, and report how well they go after 0..K inner steps."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlmaml import tree
from rlmaml.errors import ConfigError
from rlmaml.inner import adapt
from rlmaml.objective import over_tasks
from rlmaml.rng import Phase, generator
from rlmaml.sampling.collect import collect
from rlmaml.sampling.examples import ExampleSampler
from rlmaml.types import InputsWithStatistics, Meta, MetaBatch
from runners import formatting
from runners.build import Experiment, build
from runners.config import TrainConfig
from runners.environments import task_label
from runners.errors import require_at_least
from runners.evaluation.statistics import finite
from runners.io import versions, write_csv, write_json
from runners.progress import progress
from runners.run_dir import RunDir
from runners.training.checkpoints import check_data, matching, read_checkpoint, restore_normalizer


def evaluate(
    folder: RunDir,
    *,
    tasks: int | np.ndarray | None = None,
    steps: int | None = None,
    episodes: int = 20,
    queries: int | None = None,
    step_size: float | None = None,
    later_step_size: float | None = None,
    halve_later_steps: bool = False,
    deterministic: bool = False,
    seed: int = 0,
    checkpoint: Path | None = None,
    device: str | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Evaluate a run on held-out tasks, by the training code: `evaluation.json` and `.csv`.

    Of episodes, the return reported after k steps is that of `episodes` fresh ones sampled with φ_k
    by the stochastic policy (with `batch_by` steps, of as many as have that many whole ones' time
    steps); the same make step k + 1. Of examples, the score after k steps is that
    of φ_k on the query set, and every step learns from the same support set.

    Args:
        folder: the run.
        tasks: how many tasks, drawn from the family's test split by `seed`; 40, or 600 of examples;
            or the tasks themselves, `[N, *task_space.shape]`.
        steps: K, the most inner steps; 3, or 10 with examples.
        episodes: B, episodes per task and step.
        queries: query examples per task (classification: per class); as in training if None.
        step_size: of the inner steps; as in training if None.
        later_step_size: of the steps after the first; as in training if None.
        halve_later_steps: make the steps after the first half as long as it, as the MAML paper
            does.
        deterministic: report the return of likeliest actions, of episodes that begin as those that
            are learned from, which are drawn as ever.
        checkpoint: which checkpoint: its folder, or `best`; the newest if None.
        device: where adaptation runs (policies then act on the CPU); the run's own if None.
        quiet: show no progress.

    Raises:
        ConfigError: bad input.
        ValueError: tasks that the family does not have.
        FloatingPointError: a policy's parameters have blown up.

    Returns:
        What `evaluation.json` holds: `metric`, `steps` [K+1], `mean` and `ci95` [K+1] over tasks,
        `per_task` (task, the metric and other scores, [K+1] each), of a regression of one number on
        one `fits` (the curves of some tasks), and how it was made.
    """
    config = folder.read_config()
    supervised = config.data == "examples"
    given = None
    if tasks is None:
        tasks = 600 if supervised else 40
    elif not isinstance(tasks, int):
        given = np.asarray(tasks)
        tasks = len(given)
    steps = (10 if supervised else 3) if steps is None else steps
    queries = config.examples.queries if queries is None else queries
    require_at_least(1, tasks=tasks, episodes=episodes, queries=queries)
    require_at_least(0, steps=steps, seed=seed)
    if halve_later_steps and later_step_size is not None:
        raise ConfigError("Later steps are halved or of a size of their own, not both.")
    if deterministic and supervised:
        raise ConfigError("--deterministic is of episodes, and the run learned from examples.")
    if step_size is not None and config.algorithm_class.learns_step_sizes(
        config.algorithm_settings
    ):
        raise ConfigError(
            f"--step-size would not replace the step sizes that {config.algorithm} has learned: "
            "leave it out."
        )
    source = read_checkpoint(folder.path, checkpoint)
    later = (later_step_size, halve_later_steps)
    changed = _changed(config, episodes, queries, step_size, later, device)
    experiment = build(changed, tasks=tasks)
    meta = matching(source.meta, experiment.algorithm.init_meta(experiment.params), folder.path)
    restore_normalizer(experiment, source, folder.path)
    check_data(experiment, source, folder.path)

    began = time.perf_counter()
    rng = generator(seed, 0, Phase.EVALUATION_TASKS)
    try:
        chosen = experiment.sample_tasks(tasks, rng, split="test") if given is None else given
    except ValueError as problem:
        experiment.close()
        raise ConfigError(f"There are no test tasks: {problem}") from problem
    measure, chunk_size = experiment.measure, experiment.algorithm.chunk_size
    parts = 1 if chunk_size is None else math.ceil(tasks / chunk_size)
    key = (seed, 0, Phase.EVALUATION_ROLLOUT)
    total = (steps + 1) * (1 + deterministic) + parts
    with progress(total, f"evaluate {folder.path.name}", "part", quiet=quiet) as bar:
        sampler = _Ticking(experiment.sampler, bar.update)
        inner = experiment.algorithm.inner
        batch = collect(sampler, inner, meta, chosen, steps=steps, key=key, chunk_size=chunk_size)
        if deterministic:
            path = over_tasks(lambda data: adapt(inner, meta, data.support), chunk_size)(batch)
            experiment.sampler.deterministic = True  # pyright: ignore[reportAttributeAccessIssue]
            *before, last = (sampler(p, chosen, key, "query", k) for k, p in enumerate(path))
            batch = MetaBatch(tuple(before), last)
        found = []
        for chunk in tree.chunks(batch, chunk_size):
            found.append(measure.scores(meta, chunk))
            bar.update()
    scores = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    experiment.close()
    metric = scores[measure.metric]
    others = {name: values for name, values in scores.items() if name != measure.metric}
    result = {
        "metric": measure.metric,
        "note": measure.note,
        "steps": list(range(steps + 1)),
        **summary(metric),
        "others": {name: summary(values) for name, values in others.items()},
        "groups": {
            label: {"tasks": int(rows.sum()), **summary(metric[rows])}
            | {name: values[rows].mean(0).tolist() for name, values in others.items()}
            for label, rows in _groups(experiment, chosen)
        },
        "per_task": [
            {
                "task": np.asarray(task).tolist(),
                **{name: values[i].tolist() for name, values in scores.items()},
            }
            for i, task in enumerate(chosen)
        ],
        "fits": _fits(experiment, meta, batch, chosen),
        "tasks": tasks,
        "tasks_given": given is not None,
        "episodes": None if supervised else episodes,
        "deterministic": deterministic,
        "shots": config.examples.shots if supervised else None,
        "queries": queries if supervised else None,
        "step_size": changed.inner.step_size,
        "later_step_size": changed.inner.later_step_size,
        "seed": seed,
        "iteration": source.iteration,
        "train_env_steps": source.state["totals"]["env_steps"],
        "seconds": time.perf_counter() - began,
        "preset": config.preset,
        "algorithm": config.algorithm,
        "versions": versions(),
    }
    write_json(folder.evaluation, result)
    header = ("task", "steps", *scores)
    rows = (
        (shown(task), step, *(values[i, step] for values in scores.values()))
        for i, task in enumerate(chosen)
        for step in range(steps + 1)
    )
    write_csv(folder.evaluation.with_suffix(".csv"), header, rows)
    return result


def shown(task: Any) -> str:
    """A task in a table: its numbers."""
    return " ".join(f"{number:g}" for number in np.ravel(task))


class _Ticking:
    """A sampler that tells when it has sampled."""

    def __init__(self, sampler: Any, tick: Callable[[], Any]) -> None:
        self._sampler, self._tick = sampler, tick
        self.on_policy = getattr(sampler, "on_policy", True)

    def __call__(self, *arguments: Any) -> Any:
        data = self._sampler(*arguments)
        self._tick()
        return data


FITS = 4
"""How many tasks' curves an evaluation keeps."""


def _fits(
    experiment: Experiment, meta: Meta, batch: MetaBatch, tasks: np.ndarray
) -> list[dict[str, Any]]:
    """Curves of the first few tasks before and after each step, with the examples.

    Empty unless the run is a regression of one number on one number.
    """
    sampler, method = experiment.sampler, experiment.algorithm
    if not isinstance(sampler, ExampleSampler) or isinstance(
        batch.query.inputs, InputsWithStatistics
    ):
        return []
    if batch.query.inputs.shape[2:] != (1,) or batch.query.targets.shape[2:] != (1,):
        return []
    few = tree.map(lambda leaf: leaf[:FITS], batch)
    seen = torch.cat([data.inputs.flatten() for data in (*few.support[:1], few.query)])
    grid = torch.linspace(seen.min().item(), seen.max().item(), 101).unsqueeze(1)

    @torch.no_grad()
    def curves(data: MetaBatch) -> torch.Tensor:
        path = adapt(method.inner, meta, data.support)
        x = grid.to(experiment.device)
        fitted: list[Any] = [method.policy(params, x) for params in path]
        return torch.stack([fit.mean[:, 0] for fit in fitted])

    fitted = over_tasks(curves)(few).cpu()

    def points(data: Any, i: int) -> list[list[float]]:
        return [data.inputs[i, :, 0].tolist(), data.targets[i, :, 0].tolist()]

    return [
        {
            "task": np.asarray(tasks[i]).tolist(),
            "grid": grid[:, 0].tolist(),
            "curves": fitted[i].tolist(),
            "support": points(few.support[0], i) if few.support else [[], []],
            "query": points(few.query, i),
        }
        for i in range(len(fitted))
    ]


def _changed(
    config: TrainConfig,
    episodes: int,
    queries: int,
    step_size: float | None,
    later: tuple[float | None, bool],
    device: str | None,
) -> TrainConfig:
    """The run's configuration with what the evaluation does otherwise."""
    try:
        config = dataclasses.replace(
            config,
            episodes=episodes,
            examples=dataclasses.replace(config.examples, queries=queries),
            # An evaluation takes no curvature, of which a method may want a part of the episodes.
            trust_region=dataclasses.replace(config.trust_region, fisher_fraction=1.0),
        )
        inner = config.inner
        if step_size is not None:  # of all steps
            inner = dataclasses.replace(inner, step_size=step_size, later_step_size=None)
        later_step_size, halve = later
        if halve:
            later_step_size = inner.step_size / 2
        if later_step_size is not None:
            inner = dataclasses.replace(inner, later_step_size=later_step_size)
        config = dataclasses.replace(config, inner=inner)
    except ValueError as problem:
        raise ConfigError(str(problem)) from problem
    if device is not None:
        config = dataclasses.replace(config, device=device, sampling_device="cpu")
    return config


def summary(scores: np.ndarray) -> dict[str, list[float]]:
    """Mean over tasks and half-width of its 95 % interval (normal approximation), [K+1] each.

    NaN for a step after which the score of some task is not finite.
    """
    n = len(scores)
    scores = finite(scores)
    with np.errstate(over="ignore"):  # or nearly so
        spread = scores.std(0, ddof=1) if n > 1 else np.zeros(scores.shape[1])
        mean = scores.mean(0)
    return {"mean": mean.tolist(), "ci95": (1.96 * spread / np.sqrt(n)).tolist()}


def table(result: dict[str, Any]) -> str:
    """The result as text, a line per group of tasks and one for all."""
    note = f" ({result['note']})" if result["note"] else ""
    label = f"{result['metric']} on {result['tasks']} held-out tasks{note}"
    width = max(34, len(label) + 2)
    shown = [result, *result["groups"].values()]
    digits = formatting.digits(result["metric"], [mean for row in shown for mean in row["mean"]])
    lines = [f"{label:<{width}}" + "".join(f"{formatting.steps(k):>16}" for k in result["steps"])]
    rows = [("all tasks", result), *((formatting.kind(g), r) for g, r in result["groups"].items())]
    if result["metric"] != "return":
        rows += [(name, row) for name, row in result["others"].items()]
    for name, row in rows:
        cells = (
            f"{m:9.{digits}f} ± {c:4.{digits}f}" if np.isfinite(m + c) else "diverged"
            for m, c in zip(row["mean"], row["ci95"], strict=True)
        )
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>16}" for cell in cells))
        if row in result["groups"].values():
            lines += [
                f"{'  mean ' + diagnostic:<{width}}" + "".join(f"{v:>16.2f}" for v in values)
                for diagnostic, values in row.items()
                if diagnostic not in ("tasks", "mean", "ci95", "diverged")
            ]
    return "\n".join(lines)


def _groups(experiment: Experiment, tasks: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The kinds of task, where there are few (a Discrete task space), in words; else none."""
    if tasks.ndim > 1:
        return []
    sampler = experiment.sampler
    world = sampler.family if isinstance(sampler, ExampleSampler) else sampler.env
    return [(task_label(world, kind), tasks == kind) for kind in np.unique(tasks)]
