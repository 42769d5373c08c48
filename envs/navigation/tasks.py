"""Goals on a plane."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..core.tasks import Interval, Split, Tasks, _intervals, check_split


class GoalPoint(Tasks):
    """Come close to a point of the plane: pays -||x - g||.

    A task is the goal g, uniform on a square. The splits are the same.

    Args:
        goal_range: the square's side, `(low, high)` in either coordinate.
    """

    space: spaces.Box

    def __init__(self, goal_range: Interval = (-0.5, 0.5)) -> None:
        ((low, high),) = _intervals(goal_range)
        self._low, self._high = low, high
        self.space = spaces.Box(low, high, (2,), dtype=np.float64)
        # A corner: the middle would be the place where the point starts.
        self.default = np.array([high, high])

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> NDArray[Any]:
        check_split(split)
        return rng.uniform(self._low, self._high, size=(n, 2))

    def reward(self, tasks: NDArray[Any], outcome: NDArray[np.float64]) -> NDArray[np.float64]:
        return -np.sqrt(np.sum(np.square(outcome - tasks), axis=-1))

    def describe(self, task: NDArray[Any]) -> str:
        return f"goal ({task[0]:.2f}, {task[1]:.2f})"
