"""Adaptation to tasks never seen, and how well they go after 0 .. K inner steps."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch

from rlmaml import processes, tree
from rlmaml.algorithms.settings import InnerConfig
from rlmaml.build import Experiment
from rlmaml.config import TrainConfig
from rlmaml.distributions import Gaussian
from rlmaml.errors import ConfigError
from rlmaml.inner import adapt
from rlmaml.metrics import Scores
from rlmaml.objective import over_tasks
from rlmaml.rng import Key, Phase, generator
from rlmaml.sampling.collect import Sampler, collect
from rlmaml.sampling.examples import ExampleSampler
from rlmaml.sampling.rollouts import RolloutSampler
from rlmaml.sampling.task_values import carried
from rlmaml.sampling.tasks import attribute, is_numeric
from rlmaml.types import Data, Examples, InputsWithStatistics, Meta, MetaBatch, Params, Role
from runners import torch_setup
from runners.command_line.progress import progress
from runners.environments import build_experiment, task_label
from runners.evaluation import answers
from runners.evaluation.eval_config import EvalConfig, Sizes
from runners.evaluation.results import Evaluation
from runners.evaluation.summaries import Fit, Group, Summary, kinds_of
from runners.io import command, versions
from runners.run_dir import RunDir
from runners.training.checkpoints import (
    check_data,
    fitted_meta,
    read_checkpoint,
    read_totals,
    restore_normalizer,
)
from runners.workers import closed

Given = np.ndarray | Sequence[object]
"""Tasks [N, *task_space.shape], or a list of N of any kind."""
FITS = 4
"""Number of tasks whose curves an evaluation keeps."""


def measure(
    folder: RunDir,
    config: EvalConfig | None = None,
    *,
    tasks: Given | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Evaluate a run on held-out tasks by the training code, and write nothing.

    Of episodes, the return reported after k steps is that of fresh ones sampled with φ_k by the
    stochastic policy (with `batch_by` steps, of as many as have the time steps of that many full
    ones); the same make step k + 1. Of examples, the score after k steps is that of φ_k on the
    query set, and every step learns from the same support set.

    Args:
        folder: the run.
        config: what to draw and how to adapt; its defaults if None.
        tasks: the tasks themselves, `[N, *task_space.shape]` or a list of N; drawn from the
            family's split that `config` names if None.
        quiet: show no progress.

    Raises:
        ConfigError: bad input.
        ValueError: tasks that the family does not have.
        FloatingPointError: a policy's parameters that have blown up.
    """
    config = config or EvalConfig()
    if tasks is not None:
        config = dataclasses.replace(config, tasks=len(tasks))
    trained = folder.read_config()
    sizes = config.sizes(trained)
    source = read_checkpoint(folder.path, config.checkpoint)
    changed = adaptation_config(trained, config, sizes)
    torch_setup.configure(changed)
    with closed(build_experiment(changed, tasks=sizes.tasks, stored=source.meta)) as experiment:
        built = experiment.algorithm.init_meta(experiment.params)
        meta = fitted_meta(source.meta, built, folder.path)
        restore_normalizer(experiment, source, folder.path)
        check_data(experiment, source, folder.path)
        totals = read_totals(source, folder.path)
        began = time.perf_counter()
        drawn = _drawn(experiment, tasks, sizes.tasks, config)
        own = drawn[processes.share(len(drawn))]
        with processes.together(FloatingPointError):
            batch, scores = _adapted(experiment, meta, own, config, sizes.steps, folder, quiet)
        scores = {name: processes.all_rows(values) for name, values in scores.items()}
        fits = _fits(experiment, meta, batch, own)
        answered = answers.of_images(experiment, meta, batch)
        groups = _groups(experiment, drawn, scores)
    metric, note = experiment.metric.name, experiment.metric.note
    kinds = kinds_of(drawn)
    total = Summary.of(scores[metric], kinds)
    supervised = trained.data == "examples"
    return Evaluation(
        metric=metric,
        note=note,
        preset=trained.preset,
        algorithm=trained.algorithm,
        steps=tuple(range(sizes.steps + 1)),
        tasks=drawn,
        tasks_given=tasks is not None,
        scores={name: values.astype(np.float64) for name, values in scores.items()},
        mean=total.mean,
        ci95=total.ci95,
        others={
            name: Summary.of(values, kinds) for name, values in scores.items() if name != metric
        },
        groups=groups,
        fits=fits,
        answers=answered,
        episodes=None if supervised else sizes.episodes,
        shots=trained.examples.shots if supervised else None,
        queries=sizes.queries if supervised else None,
        **_step_sizes(changed.inner),
        deterministic=config.deterministic,
        split=config.split,
        seed=config.seed,
        checkpoint=None if config.checkpoint is None else config.checkpoint.name,
        iteration=source.iteration,
        checkpoint_sha256=source.digest,
        train_env_steps=totals.env_steps,
        train_seconds=totals.seconds,
        seconds=time.perf_counter() - began,
        versions=versions(),
        command=command(),
    )


def _step_sizes(inner: InnerConfig) -> dict[str, Any]:
    """The sizes of inner steps, as a result has them."""
    share = inner.later_step_share
    later = None if share == 1 else share * inner.step_size
    return {"step_size": inner.step_size, "later_step_size": later, "later_step_share": share}


def adaptation_config(trained: TrainConfig, config: EvalConfig, sizes: Sizes) -> TrainConfig:
    """Configuration of the run with what the evaluation does otherwise.

    Raises:
        ConfigError: values that a run cannot have.
    """
    given = {"step_size": config.step_size, "later_step_share": config.later_step_share}
    inner = dataclasses.replace(
        trained.inner, **{name: value for name, value in given.items() if value is not None}
    )
    changed = dataclasses.replace(
        trained,
        episodes=sizes.episodes,
        examples=dataclasses.replace(trained.examples, queries=sizes.queries),
        # An evaluation takes no curvature, of which an algorithm may want a part of the episodes.
        trust_region=dataclasses.replace(trained.trust_region, fisher_fraction=1.0),
        inner=inner,
    )
    if config.device is not None:
        changed = dataclasses.replace(changed, device=config.device, sampling_device="cpu")
    return changed


def _drawn(
    experiment: Experiment, tasks: Given | None, count: int, config: EvalConfig
) -> np.ndarray:
    """The tasks as they are given, or else N [N, ...] of a split.

    Raises:
        ConfigError: a family without any.
    """
    if tasks is not None:
        space = attribute(experiment.tasks_source, "task_space")
        points = isinstance(experiment.sampler, ExampleSampler) or is_numeric(space)
        return np.asarray(tasks) if points or isinstance(tasks, np.ndarray) else carried(tasks)
    try:
        return experiment.sample_tasks(
            count, generator(config.seed, 0, Phase.EVALUATION_TASKS), split=config.split
        )
    except ValueError as problem:
        raise ConfigError(f"There are no {config.split} tasks: {problem}") from problem


def _adapted(
    experiment: Experiment,
    meta: Meta,
    tasks: np.ndarray,
    config: EvalConfig,
    steps: int,
    folder: RunDir,
    quiet: bool,
) -> tuple[MetaBatch, Scores]:
    """Adapt to the tasks; return what was drawn meanwhile, and the scores [N, K+1] of it."""
    chunk_size = experiment.algorithm.chunk_size
    parts = 1 if chunk_size is None else math.ceil(len(tasks) / chunk_size)
    total = (steps + 1) * (1 + config.deterministic) + parts
    key = (config.seed, 0, Phase.EVALUATION_ROLLOUT)
    with progress(total, f"evaluate {folder.path.name}", "part", quiet=quiet) as bar:
        sampler = _Ticking(experiment.sampler, bar.update)
        inner = experiment.algorithm.inner
        batch = collect(sampler, inner, meta, tasks, steps=steps, key=key, chunk_size=chunk_size)
        if config.deterministic:
            batch = _likeliest(experiment, sampler, batch, tasks, key)
        scored = []
        for chunk in tree.chunks(batch, chunk_size):
            scored.append(experiment.metric.scores(meta, chunk))
            bar.update()
    return batch, {name: np.concatenate([part[name] for part in scored]) for name in scored[0]}


def _likeliest(
    experiment: Experiment,
    sampler: Sampler,
    batch: MetaBatch,
    tasks: np.ndarray,
    key: Key,
) -> MetaBatch:
    """Episodes of likeliest actions by φ_0 .. φ_K, that begin as those that were learned from."""
    assert isinstance(experiment.sampler, RolloutSampler)  # `EvalConfig.sizes` has seen to it
    experiment.sampler.deterministic = True
    *before, last = (
        tree.to(sampler(params, tasks, key, "query", k), experiment.device)
        for k, params in enumerate(batch.iterates)
    )
    return MetaBatch(tuple(before), last)


class _Ticking:
    """A sampler that tells when it has sampled."""

    def __init__(self, sampler: Sampler, tick: Callable[[], object]) -> None:
        self._sampler, self._tick = sampler, tick
        self.on_policy: bool = getattr(sampler, "on_policy", True)

    def __call__(self, params: Params, tasks: np.ndarray, key: Key, role: Role, step: int) -> Data:
        data = self._sampler(params, tasks, key, role, step)
        self._tick()
        return data


def _fits(
    experiment: Experiment, meta: Meta, batch: MetaBatch, tasks: np.ndarray
) -> tuple[Fit, ...]:
    """Curves of the first few tasks before and after each step, with the examples.

    Empty unless the run is a regression of one number on one number.
    """
    algorithm, query = experiment.algorithm, batch.query
    if not isinstance(experiment.sampler, ExampleSampler) or isinstance(
        query.inputs, InputsWithStatistics
    ):
        return ()
    if query.inputs.shape[2:] != (1,) or query.targets.shape[2:] != (1,):
        return ()
    few = tree.map(lambda leaf: leaf[:FITS], batch)
    inputs = torch.cat([data.inputs.flatten() for data in (*few.support[:1], few.query)])
    low, high = inputs.min().item(), inputs.max().item()
    grid = torch.linspace(low, high, 101, dtype=torch.float32, device="cpu").unsqueeze(1)

    @torch.no_grad()
    def curves(data: MetaBatch) -> torch.Tensor:
        x = grid.to(experiment.device)
        iterates = adapt(algorithm.inner, meta, data.support)
        # What regressions predict has a mean, particles' mixtures too.
        fitted = [cast(Gaussian, algorithm.policy(params, x)) for params in iterates]
        return torch.stack([fit.mean[:, 0] for fit in fitted])

    fitted = over_tasks(curves)(few).cpu()
    return tuple(
        Fit(
            task=np.asarray(tasks[i]),
            grid=_array(grid[:, 0]),
            curves=_array(fitted[i]),
            support=_points(few.support[0], i) if few.support else np.zeros((2, 0)),
            query=_points(few.query, i),
        )
        for i in range(len(fitted))
    )


def _points(data: Examples, task: int) -> np.ndarray:
    """Inputs and targets of a task, [2, n]."""
    assert isinstance(data.inputs, torch.Tensor)  # `_fits` leaves out what is more
    return np.stack([_array(data.inputs[task, :, 0]), _array(data.targets[task, :, 0])])


def _array(values: torch.Tensor) -> np.ndarray:
    return values.cpu().numpy().astype(np.float64)


def _groups(experiment: Experiment, tasks: np.ndarray, scores: Scores) -> dict[str, Group]:
    """The kinds of task by name, where there are few (a Discrete task space); else none."""
    if kinds_of(tasks) is None:
        return {}
    metric = experiment.metric.name
    groups = {}
    for kind in np.unique(tasks):
        rows = tasks == kind
        summary = Summary.of(scores[metric][rows])
        groups[task_label(experiment.tasks_source, kind)] = Group(
            int(rows.sum()),
            summary.mean,
            summary.ci95,
            {
                name: values[rows].mean(0).astype(np.float64)
                for name, values in scores.items()
                if name != metric
            },
        )
    return groups
