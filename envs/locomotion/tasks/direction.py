"""Directions: forward or backward, and any in the plane."""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import array_namespace
from gymnasium import spaces
from numpy.typing import ArrayLike

from ...core.angles import angle_ranges, on_circle
from ...core.arguments import Range, check_bool, check_range
from ...core.tasks import Split, check_split
from ..goal import Goal
from ..robots.base import Motion
from .base import Floats, LocomotionTasks


class Direction(LocomotionTasks):
    """Run along x, forward (task 0) or backward (task 1): pays w v or -w v.

    There are two tasks, so the splits are the same.

    Args:
        balanced: draw half forward and half backward; the MAML paper draws each by a coin of its
            own.
        forward_reward_weight: w.
    """

    def __init__(self, *, balanced: bool = True, forward_reward_weight: float = 1.0) -> None:
        self._balanced = check_bool("balanced", balanced)
        self._weight = forward_reward_weight
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

    def reward(self, tasks: np.ndarray, result: Motion) -> Floats:
        along = self._weight * result.velocity[:, 0]
        return array_namespace(along).where(tasks == 0, along, -along)

    def goal(self, task: np.ndarray) -> Goal:
        return Goal(direction=np.array([1.0 if task == 0 else -1.0, 0.0]))

    def describe(self, task: np.ndarray) -> str:
        return "goal: forward" if task == 0 else "goal: backward"


class PlaneDirection(LocomotionTasks):
    """Run along a direction d of the plane: pays w v·d.

    A task is d, a vector of length 1 in a Box of shape (2,), which may be off by 1e-6. An angle
    would be one number, but two angles that are nearly the same direction may be 0 and 2π, which an
    oracle, shown its task, would have to learn.

    Args:
        angle_range: where angles from x to d, toward y, are drawn from, uniformly, in radians, to
            train on and to validate.
        test_angle_range: the same for split="test"; None is `angle_range`.
        balanced: draw one of n angles from each n-th part of the range.
        forward_reward_weight: w.

    Raises:
        TypeError: `balanced` is not True or False.
        ValueError: no ranges, or some that leave -2π to 2π.
    """

    def __init__(
        self,
        angle_range: Range = (0.0, 2 * math.pi),
        test_angle_range: Range | None = None,
        *,
        balanced: bool = False,
        forward_reward_weight: float = 1.0,
    ) -> None:
        self._balanced = check_bool("balanced", balanced)
        self._angles = angle_ranges(angle_range, test_angle_range)
        self._weight = forward_reward_weight
        self.space = spaces.Box(-1.0, 1.0, (2,), dtype=np.float64)
        start = float(check_range("angle_range", angle_range)[0, 0])
        self.default = on_circle(np.array([start]))[0]

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        return on_circle(self._angles.sample(n, rng, split, balanced=self._balanced))

    def check(self, tasks: ArrayLike, count: int) -> np.ndarray:
        """As of every family; refuses also what has another length than 1."""
        checked = super().check(tasks, count)
        lengths = np.linalg.norm(checked, axis=1)
        wrong = np.abs(lengths - 1.0) > 1e-6
        if wrong.any():
            first = int(np.argmax(wrong))
            raise ValueError(
                f"task {first} is {checked[first].tolist()}, of length {lengths[first]:.6g}; a "
                "direction has length 1: (cos, sin) of an angle"
            )
        return checked

    def reward(self, tasks: np.ndarray, result: Motion) -> Floats:
        xp = array_namespace(result.velocity)
        return self._weight * xp.sum(result.velocity * tasks, axis=1)

    def goal(self, task: np.ndarray) -> Goal:
        return Goal(direction=np.asarray(task))

    def describe(self, task: np.ndarray) -> str:
        degrees = math.degrees(math.atan2(task[1], task[0])) % 360.0
        return f"goal: {degrees:.0f}°"
