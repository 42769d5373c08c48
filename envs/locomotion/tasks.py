"""Tasks of robots: a goal velocity, a direction."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..core.tasks import Range, Split, Tasks, _intervals, _truth, check_split


class GoalVelocity(Tasks):
    """Run along x at a given velocity: pays -|v - v*|.

    A task is v* in meters a second, in a Box of shape (1,) that holds both ranges.

    Args:
        goal_range: where tasks to train on, and to validate, are drawn from, uniformly.
        test_goal_range: the same for split="test"; None is `goal_range`. With the holes that a
            `Range` may have, ((0, .8), (1.2, 2)) to train and (.8, 1.2) to test asks for
            interpolation, (0, 2) and (2, 3) for extrapolation.
        balanced: draw one of n goals from each n-th part of the range, or each by itself.
    """

    def __init__(
        self,
        goal_range: Range,
        test_goal_range: Range | None = None,
        *,
        balanced: bool = False,
    ) -> None:
        self._balanced = _truth("balanced", balanced)
        self._intervals = {
            "train": _intervals(goal_range),
            "test": _intervals(goal_range if test_goal_range is None else test_goal_range),
        }
        everything = np.concatenate(list(self._intervals.values()))
        low, high = float(everything.min()), float(everything.max())
        self.space = spaces.Box(low, high, (1,), dtype=np.float64)
        # The middle of the training range's first interval: a hole is no place for a default.
        self.default = np.array([self._intervals["train"][0].mean()])

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> NDArray[Any]:
        intervals = self._intervals["test" if check_split(split) == "test" else "train"]
        starts, widths = intervals[:, 0], np.diff(intervals).ravel()
        # One uniform number on the intervals laid end to end.
        ends = np.cumsum(widths)
        drawn = rng.uniform(0.0, ends[-1], size=n)
        if self._balanced:
            drawn = rng.permutation((np.arange(n) * ends[-1] + drawn) / n)
        which = np.minimum(np.searchsorted(ends, drawn, side="right"), len(ends) - 1)
        return (starts[which] + drawn - (ends - widths)[which])[:, None]

    def reward(self, tasks: NDArray[Any], outcome: NDArray[np.float64]) -> NDArray[np.float64]:
        return -np.abs(outcome - tasks[:, 0])

    def goal_velocity(self, task: NDArray[Any]) -> float:
        return float(task[0])

    def describe(self, task: NDArray[Any]) -> str:
        return f"goal {task[0]:.2f} m/s"


class Direction(Tasks):
    """Run along x, forward (task 0) or backward (task 1): pays v or -v.

    There are two tasks, so the splits are the same.

    Args:
        balanced: draw half forward and half backward, or each by a coin of its own.
    """

    def __init__(self, *, balanced: bool = True) -> None:
        self._balanced = _truth("balanced", balanced)
        self.space = spaces.Discrete(2)
        self.default = np.array(0)

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> NDArray[Any]:
        """Balanced, half forward and half backward in random order; a coin gives the odd one.

        Each task alone is a fair coin. Independent coins also leave the batch unbalanced, which a
        meta-gradient sees as noise, and larger than what it looks for.
        """
        check_split(split)
        if not self._balanced:
            return rng.integers(2, size=n)
        return rng.permutation((np.arange(n) + rng.integers(2)) % 2)

    def reward(self, tasks: NDArray[Any], outcome: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(tasks == 0, outcome, -outcome)

    def goal_velocity(self, task: NDArray[Any]) -> float:
        return float(self.reward(task, np.array(np.inf)))

    def describe(self, task: NDArray[Any]) -> str:
        return "goal: forward" if task == 0 else "goal: backward"
