"""Positions on the plane to come to."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from array_api_compat import array_namespace
from gymnasium import spaces

from ...core.angles import angle_ranges, on_circle
from ...core.arguments import Range, check_bool
from ...core.ranges import Ranges
from ...core.tasks import Split
from ..goal import Goal
from ..robots.base import Motion
from .base import Floats, LocomotionTasks


class GoalPosition(LocomotionTasks):
    """Come to a place on the plane and stay: pays minus the distance to it.

    A task is the place (x, y) in meters, in a Box of shape (2,) around the disk it is drawn from,
    uniformly. The robot must see where it is, or nothing tells it when to stop:
    `exclude_current_positions_from_observation=False`.

    Args:
        radius: of the disk, in meters.
        angle_range: where angles from x, toward y, are drawn from, in radians, to train on and to
            validate.
        test_angle_range: the same for split="test"; None is `angle_range`.
        balanced: draw one of n angles from each n-th part of the range, and one of n distances.
        distance: "manhattan" is |Δx| + |Δy|, as every paper with an ant-goal has it; "euclidean"
            is the length of the way.

    Raises:
        TypeError: `balanced` is not True or False.
        ValueError: a `radius` not above 0, no ranges or some that leave -2π to 2π, or an unknown
            `distance`.
    """

    def __init__(
        self,
        radius: float = 3.0,
        angle_range: Range = (0.0, 2 * math.pi),
        test_angle_range: Range | None = None,
        *,
        balanced: bool = False,
        distance: Literal["manhattan", "euclidean"] = "manhattan",
    ) -> None:
        if not (np.isfinite(radius) and radius > 0.0):
            raise ValueError(f"radius is {radius}; it is above 0, and finite")
        if distance not in ("manhattan", "euclidean"):
            raise ValueError(f"distance is {distance!r}; there are 'manhattan' and 'euclidean'")
        self._balanced = check_bool("balanced", balanced)
        self._radius, self._distance = float(radius), distance
        self._angles = angle_ranges(angle_range, test_angle_range)
        # The share of the disk that is nearer to its middle than a goal is uniform.
        self._shares = Ranges("share", (0.0, 1.0))
        self.space = spaces.Box(-self._radius, self._radius, (2,), dtype=np.float64)
        self.default = self._radius * on_circle(np.array([self._angles.middle]))[0]

    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        angles = self._angles.sample(n, rng, split, balanced=self._balanced)
        shares = self._shares.sample(n, rng, split, balanced=self._balanced)
        return self._radius * np.sqrt(shares)[:, None] * on_circle(angles)

    def reward(self, tasks: np.ndarray, result: Motion) -> Floats:
        xp, way = array_namespace(result.position), result.position - tasks
        if self._distance == "euclidean":
            return -xp.sqrt(xp.sum(xp.square(way), axis=1))
        return -xp.sum(xp.abs(way), axis=1)

    def goal(self, task: np.ndarray) -> Goal:
        return Goal(position=np.asarray(task))

    def describe(self, task: np.ndarray) -> str:
        return f"goal ({task[0]:.2f}, {task[1]:.2f})"
