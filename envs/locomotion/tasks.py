"""Task families of robots: a goal velocity, a direction."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..core.arguments import Range, check_bool, check_range
from ..core.tasks import Split, Tasks, check_split
from .robots.base import Motion


class LocomotionTasks(Tasks[Motion]):
    """A family of tasks for robots: rewards where a step led, and how fast.

    Any robot serves, so a family whose reward looks at more than the velocity along x is this
    class alone.
    """

    def goal_velocity(self, task: np.ndarray) -> float | None:
        """Velocity along x, in meters a second, that a task asks for, for frames to show.

        Infinite where faster is always better; None where it asks for none.
        """
        return None


class GoalVelocity(LocomotionTasks):
    """Run along x at a given velocity: pays -|v - v*|.

    A task is v* in meters a second, in a Box of shape (1,) that holds both ranges.

    Args:
        goal_range: where tasks to train on, and to validate, are drawn from, uniformly, in meters
            a second.
        test_goal_range: the same for split="test"; None is `goal_range`. With the holes that a
            `Range` may have, ((0, 0.8), (1.2, 2)) to train and (0.8, 1.2) to test asks for
            interpolation, (0, 2) and (2, 3) for extrapolation.
        balanced: draw one of n goals from each n-th part of the range; the MAML paper draws each
            by itself.
    """

    def __init__(
        self,
        goal_range: Range,
        test_goal_range: Range | None = None,
        *,
        balanced: bool = False,
    ) -> None:
        self._balanced = check_bool("balanced", balanced)
        self._intervals = {
            "train": check_range("goal_range", goal_range),
            "test": check_range(
                "test_goal_range", goal_range if test_goal_range is None else test_goal_range
            ),
        }
        everything = np.concatenate(list(self._intervals.values()))
        low, high = float(everything.min()), float(everything.max())
        self.space = spaces.Box(low, high, (1,), dtype=np.float64)
        # The middle of the training range's first interval: a hole is no place for a default.
        self.default = np.array([self._intervals["train"][0].mean()])

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        intervals = self._intervals["test" if check_split(split) == "test" else "train"]
        starts, widths = intervals[:, 0], np.diff(intervals).ravel()
        # One uniform number on the intervals laid end to end.
        ends = np.cumsum(widths)
        drawn = rng.uniform(0.0, ends[-1], size=n)
        if self._balanced:
            drawn = rng.permutation((np.arange(n) * ends[-1] + drawn) / n)
        which = np.minimum(np.searchsorted(ends, drawn, side="right"), len(ends) - 1)
        return (starts[which] + drawn - (ends - widths)[which])[:, None]

    def reward(self, tasks: np.ndarray, result: Motion) -> NDArray[np.float64]:
        return -np.abs(result.velocity[:, 0] - tasks[:, 0])

    def goal_velocity(self, task: np.ndarray) -> float:
        return float(task[0])

    def describe(self, task: np.ndarray) -> str:
        return f"goal {task[0]:.2f} m/s"


class Direction(LocomotionTasks):
    """Run along x, forward (task 0) or backward (task 1): pays v or -v.

    There are two tasks, so the splits are the same.

    Args:
        balanced: draw half forward and half backward; the MAML paper draws each by a coin of its
            own.
    """

    def __init__(self, *, balanced: bool = True) -> None:
        self._balanced = check_bool("balanced", balanced)
        self.space = spaces.Discrete(2)
        self.default = np.array(0)

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        """Balanced, half forward and half backward in random order; a coin gives the odd one.

        Each task alone is a fair coin. Independent coins also leave the batch unbalanced, which a
        meta-gradient sees as noise, and larger than what it looks for.
        """
        check_split(split)
        if not self._balanced:
            return rng.integers(2, size=n)
        return rng.permutation((np.arange(n) + rng.integers(2)) % 2)

    def reward(self, tasks: np.ndarray, result: Motion) -> NDArray[np.float64]:
        along = result.velocity[:, 0]
        return np.where(tasks == 0, along, -along)

    def goal_velocity(self, task: np.ndarray) -> float:
        return np.inf if task == 0 else -np.inf

    def describe(self, task: np.ndarray) -> str:
        return "goal: forward" if task == 0 else "goal: backward"
