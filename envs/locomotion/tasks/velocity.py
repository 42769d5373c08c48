"""Goal velocities along x."""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace
from gymnasium import spaces

from ...core.arguments import Range, check_bool
from ...core.ranges import Ranges
from ...core.tasks import Split
from ..goal import Goal
from ..robots.base import Motion
from .base import Floats, LocomotionTasks


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
        self._goals = Ranges("goal_range", goal_range, test_goal_range)
        self.space = spaces.Box(self._goals.low, self._goals.high, (1,), dtype=np.float64)
        self.default = np.array([self._goals.middle])

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        return self._goals.sample(n, rng, split, balanced=self._balanced)[:, None]

    def reward(self, tasks: np.ndarray, result: Motion) -> Floats:
        xp = array_namespace(result.velocity)
        return -xp.abs(result.velocity[:, 0] - tasks[:, 0])

    def goal(self, task: np.ndarray) -> Goal:
        return Goal(velocity=np.array([task[0], 0.0]))

    def describe(self, task: np.ndarray) -> str:
        return f"goal {task[0]:.2f} m/s"
