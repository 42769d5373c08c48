"""Means over runs and tasks, and how sure they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


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


def over_tasks(scores: Floats, kinds: NDArray[Any] | None = None) -> Floats:
    """Half-width of the 95 % interval of a mean over tasks, by the normal approximation.

    Where there are few kinds of task, all of which there are, how they differ is no error of
    sampling: what counts is how scores differ within a kind.

    Args:
        scores: [N, ...].
        kinds: of the tasks, [N]; None where each is a draw from many.

    Returns:
        [...]; 0 where there is one task of a kind.
    """
    kinds = np.zeros(len(scores)) if kinds is None else kinds
    variance = np.zeros(scores.shape[1:])
    for kind in np.unique(kinds):
        own = scores[kinds == kind]
        if len(own) > 1:
            variance = variance + len(own) * own.var(0, ddof=1) / len(scores) ** 2
    return 1.96 * np.sqrt(variance)


def over_runs(
    per_run: Floats, per_task: Floats, kinds: NDArray[Any] | None = None
) -> tuple[Floats, Floats]:
    """Mean of runs' means, and half-width of its 95 % interval, [...] each.

    By Student's t over runs, which share their tasks: of another seed's mean on these tasks. A
    single run says nothing of others, and its interval is `over_tasks`.

    Args:
        per_run: [R, ...], a run's mean over tasks each.
        per_task: [N, ...], the scores of the only run.
        kinds: of the tasks, as of `over_tasks`.
    """
    if len(per_run) == 1:
        return per_run[0], over_tasks(per_task, kinds)
    spread = per_run.std(0, ddof=1) / np.sqrt(len(per_run))
    return per_run.mean(0), float(stats.t.ppf(0.975, len(per_run) - 1)) * spread


def interval(scores: Floats, kinds: NDArray[Any] | None = None) -> Floats:
    """Ends of the 95 % interval of the mean of scores [R, N, ...], as of `over_runs`: [2, ...]."""
    return _ends(*over_runs(scores.mean(1), scores[0], kinds))


def gap_interval(scores: Floats, reference: Floats, oracle: Floats) -> Floats | None:
    """Ends of the 95 % interval of `gap_closed`, by Student's t over the gaps of runs: [2, ...].

    None for one run, or where the three are not of as many.
    """
    if len({len(scores), len(reference), len(oracle)}) > 1 or len(scores) == 1:
        return None
    every = zip(scores, reference, oracle, strict=True)
    gaps = np.stack([gap_closed(*(each[None] for each in run)) for run in every])
    return _ends(*over_runs(gaps, gaps))


def _ends(middle: Floats, half: Floats) -> Floats:
    return np.stack([middle - half, middle + half])
