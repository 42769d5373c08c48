"""Means over runs and tasks, and how sure they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Statistic = Callable[..., Floats]
"""A function of arrays [R, N, ...], runs by tasks, that leaves their further axes."""
_AT_ONCE = 200  # resamples; more take memory and no less time


def finite(scores: Floats) -> Floats:
    """NaN for an inner step after which the score of some task is not finite: [..., K+1]."""
    every = np.isfinite(scores).all(tuple(range(scores.ndim - 1)))
    return np.where(every, scores, np.nan)


def mean(scores: Floats) -> Floats:
    """Mean over runs and tasks: [R, N, ...] -> [...]."""
    return scores.mean((0, 1))


def interquartile_mean(scores: Floats) -> Floats:
    """Mean over the middle half of the scores of all runs and tasks: [R, N, ...] -> [...].

    A quarter, rounded down, is left out at either end (Agarwal et al. 2021, section 4.3).
    """
    return stats.trim_mean(scores.reshape(-1, *scores.shape[2:]), 0.25, axis=0)


def bootstrap(
    statistic: Statistic,
    *scores: Floats,
    whole_runs: bool = False,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """A 95 % interval by the percentile bootstrap over tasks and, within each task, over runs.

    Tasks are drawn with replacement, and for each of them runs, independently (Agarwal et al.
    2021; rliable's `StratifiedBootstrap` with `task_bootstrap`). That takes what happened to a run
    on one task for independent of what happened to it on another, which it is not where a run is
    one meta-trained policy: `whole_runs` draws runs for all tasks alike, and its intervals are as
    wide as the runs differ.

    Args:
        statistic: of the resampled scores.
        scores: arrays [R, N, ...] of the same runs and tasks, resampled alike.
        resamples: how many.
        seed: of the resampling.

    Returns:
        Lower and upper end, each as the statistic's value. One run and one task: no width.
    """
    runs, tasks = scores[0].shape[:2]
    rng = np.random.default_rng(seed)
    drawn = []
    for start in range(0, resamples, _AT_ONCE):
        draws = [
            (
                rng.integers(tasks, size=(1, tasks)),
                rng.integers(runs, size=(runs, 1 if whole_runs else tasks)),
            )
            for _ in range(min(_AT_ONCE, resamples - start))
        ]
        chosen_tasks, chosen_runs = (np.stack(each, -1) for each in zip(*draws, strict=True))
        # Resamples are the last of the axes that the statistic leaves.
        resampled = (np.moveaxis(each[chosen_runs, chosen_tasks], 2, -1) for each in scores)
        drawn.append(statistic(*resampled))
    low, high = np.percentile(np.concatenate(drawn, -1), (2.5, 97.5), axis=-1)
    return low, high


def gap_closed(scores: Floats, reference: Floats, oracle: Floats) -> Floats:
    """Share of the way from a reference to an oracle: 0 is the one, 1 the other.

    Args:
        scores: [R, N, K+1].
        reference, oracle: [R, N, 1].

    Returns:
        (mean - reference) / (oracle - reference), of means over runs and tasks, [K+1].
    """
    start, end = mean(reference), mean(oracle)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (mean(scores) - start) / (end - start)


def over_runs(per_run: Floats, per_task: Floats) -> tuple[Floats, Floats]:
    """Mean of runs' means, and half-width of its 95 % interval, [...] each.

    Args:
        per_run: [R, ...], a run's mean over tasks each.
        per_task: [N, ...], the only run's tasks.

    Over runs by Student's t; of a single run, which says nothing of others, over its tasks by the
    normal approximation.
    """
    if len(per_run) == 1:
        return per_run[0], 1.96 * per_task.std(0, ddof=1) / np.sqrt(len(per_task))
    spread = per_run.std(0, ddof=1) / np.sqrt(len(per_run))
    return per_run.mean(0), float(stats.t.ppf(0.975, len(per_run) - 1)) * spread
