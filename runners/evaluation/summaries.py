"""What an evaluation says of its scores: means over tasks, of kinds of tasks, and fitted curves.

They hold arrays, of which one does not say that they are equal: `eq=False`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runners.evaluation import statistics

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Summary:
    """Mean over tasks and half-width of its 95 % interval, [K+1] each."""

    mean: Floats
    ci95: Floats

    @classmethod
    def of(cls, scores: np.ndarray) -> Summary:
        """The summary of scores [N, K+1], by the normal approximation.

        NaN for a step after which the score of some task is not finite.
        """
        count = len(scores)
        scores = statistics.finite(scores)
        with np.errstate(over="ignore"):  # or nearly so
            spread = scores.std(0, ddof=1) if count > 1 else np.zeros(scores.shape[1])
            mean = scores.mean(0)
        return cls(mean.astype(np.float64), (1.96 * spread / np.sqrt(count)).astype(np.float64))


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
