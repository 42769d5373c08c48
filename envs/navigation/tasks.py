"""The task family of navigation: goals on a plane."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..core.arguments import Interval, check_interval
from ..core.tasks import Split, Tasks, check_split


class GoalPoint(Tasks[NDArray[np.float64]]):
    """Come close to a point of the plane: pays -||x - g||.

    A task is the goal g, uniform on a square. The splits are the same.

    Args:
        goal_range: the square's side, `(low, high)` in either coordinate; the default is the MAML
            paper's.
    """

    space: spaces.Box

    def __init__(self, goal_range: Interval = (-0.5, 0.5)) -> None:
        low, high = self._low, self._high = check_interval("goal_range", goal_range)
        self.space = spaces.Box(low, high, (2,), dtype=np.float64)
        # A corner: the middle would be the place where the point starts.
        self.default = np.array([high, high])

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        check_split(split)
        return rng.uniform(self._low, self._high, size=(n, 2))

    def reward(self, tasks: np.ndarray, result: NDArray[np.float64]) -> NDArray[np.float64]:
        """Minus the distance to the goals from positions, `[M, 2]`."""
        return -np.sqrt(np.sum(np.square(result - tasks), axis=-1))

    def describe(self, task: np.ndarray) -> str:
        return f"goal ({task[0]:.2f}, {task[1]:.2f})"
