"""What an evaluation says of its scores: means over tasks, of kinds of tasks, and fitted curves.

They hold arrays, of which one does not say that they are equal: `eq=False`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runners.evaluation import statistics

Floats = NDArray[np.float64]


def kinds_of(tasks: np.ndarray) -> np.ndarray | None:
    """The kinds of tasks [N, ...], where there are few and so all of them are seen; else None."""
    return None if tasks.ndim > 1 or tasks.dtype == object else tasks


@dataclass(frozen=True, eq=False)
class Summary:
    """Mean over tasks and half-width of its 95 % interval, [K+1] each."""

    mean: Floats
    ci95: Floats

    @classmethod
    def of(cls, scores: np.ndarray, kinds: np.ndarray | None = None) -> Summary:
        """The summary of scores [N, K+1] of tasks of these kinds [N], if there are any.

        NaN for a step after which the score of some task is not finite.
        """
        scores = statistics.finite(scores)
        with np.errstate(over="ignore", invalid="ignore"):  # or nearly so
            mean, half = scores.mean(0), statistics.over_tasks(scores, kinds)
        return cls(mean.astype(np.float64), half.astype(np.float64))


@dataclass(frozen=True, eq=False)
class Group:
    """Tasks of one kind: how many, and means [K+1] over them by score, the metric first."""

    tasks: int
    mean: Floats
    ci95: Floats
    others: dict[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Fit:
    """Curves that a regression of one number on one fits to a task's examples."""

    task: np.ndarray
    grid: Floats
    """[G]."""
    curves: Floats
    """[K+1, G], after each step."""
    support: Floats
    """[2, shots], inputs and targets."""
    query: Floats
    """[2, queries]."""
