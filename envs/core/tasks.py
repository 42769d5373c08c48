"""Task families: which tasks there are, how they are drawn and what they reward.

A task is a point of `family.space`, a gymnasium space, so tasks stack into one array
`[n, *space.shape]`, print, compare and go on a command line. Everything here is a function of
arrays with one row per simulation: one robot and eight hundred run the same lines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

Split = Literal["train", "validation", "test"]
"""Families that hold nothing out for validation draw "validation" as they draw "train"."""
Interval = tuple[float, float]
Range = Interval | tuple[Interval, ...]
"""One interval `(low, high)`, or several: `((0, 1), (2, 3))` leaves a hole between 1 and 2."""


class Tasks(ABC):
    """A family of tasks.

    Subclasses supply `space`, `default`, `sample` and `reward`. What a picture shows of a task is
    up to `goal_velocity` and `describe`.
    """

    space: spaces.Box | spaces.Discrete
    """Every task is a point of it."""
    default: NDArray[Any]
    """The task of an environment that was given none, `[*space.shape]`."""

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> NDArray[Any]:
        """`n` tasks, `[n, *space.shape]`, drawn from `rng` and nothing else."""

    @abstractmethod
    def reward(self, tasks: NDArray[Any], outcome: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the task pays for `outcome`, `[M]`.

        `tasks` is `[M, *space.shape]`. For a robot, `outcome` is its velocity along x in meters
        a second, `[M]`; for a point, its position, `[M, 2]`; for an example, the loss, `[M]`;
        for a table, what `TabularTasks` says, `[M, 3]`. A robot's costs come on top.
        """

    def goal_velocity(self, task: NDArray[Any]) -> float | None:
        """The velocity along x, in meters a second, that a task asks for, `[*space.shape]`.

        Infinite where faster is always better; None where it asks for no velocity.
        """
        return None

    def describe(self, task: NDArray[Any]) -> str:
        """A task, `[*space.shape]`, in a few words for a caption."""
        return f"task {np.array2string(np.asarray(task), precision=2, threshold=4)}"

    def check(self, tasks: ArrayLike, count: int) -> NDArray[Any]:
        """`tasks` as a fresh read-only array `[count, *space.shape]` of the space's dtype.

        Raises:
            ValueError: wrong shape, not a number of the space's kind, or outside the space.
        """
        given = np.asarray(tasks)
        shape = self.space.shape or ()
        expected = (count, *shape)
        # The bounds of a large task may be long to print.
        large = int(np.prod(shape)) > 8
        named = f"Box of shape {shape}" if large else str(self.space)
        if given.shape != expected:
            raise ValueError(
                f"tasks have shape {given.shape}, expected {expected}: one point of {named} "
                f"for each of {count} environment(s); sample_tasks(n, rng) draws such points"
            )
        wanted = np.dtype(self.space.dtype)
        if wanted.kind == "i" and given.dtype.kind not in "iu":
            raise ValueError(
                f"tasks are integers, points of {named}, but came as {given.dtype} "
                f"({given.ravel()[:4].tolist()} ...); pass an integer array"
            )
        if given.dtype.kind not in "iuf":
            raise ValueError(f"tasks must be numbers, points of {named}, got {given.dtype}")
        low, high = _bounds(self.space)
        inside = (given >= low) & (given <= high) & np.isfinite(given)
        if not inside.all():
            first, *where = np.argwhere(~inside)[0].tolist()
            what = f"{given[first][tuple(where)]} at {where}" if large else given[first].tolist()
            raise ValueError(
                f"task {first} is {what}, outside the task space {named}; choose a finite one "
                "inside it, or widen the range that the environment was made with"
            )
        checked = given.astype(wanted, copy=True)
        checked.flags.writeable = False
        return checked


def _truth(name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; it is True or False")
    return value


def check_split(split: str) -> Split:
    """`split` itself.

    Raises:
        ValueError: it is none of "train", "validation" and "test".
    """
    if split not in ("train", "validation", "test"):
        raise ValueError(f"split is {split!r}; there are 'train', 'validation' and 'test'")
    return split


def _intervals(goal_range: Range) -> NDArray[np.float64]:
    """A range as rows of (low, high), `[k, 2]`."""
    rows = np.atleast_2d(np.asarray(goal_range, dtype=np.float64))
    if rows.ndim != 2 or rows.shape[1] != 2 or not np.isfinite(rows).all():
        raise ValueError(f"a goal range is (low, high), or several of them, got {goal_range!r}")
    if (rows[:, 0] > rows[:, 1]).any():
        raise ValueError(f"a goal range has its lower end first, got {goal_range!r}")
    return rows


def _bounds(space: spaces.Box | spaces.Discrete) -> tuple[NDArray[Any], NDArray[Any]]:
    if isinstance(space, spaces.Discrete):
        return np.asarray(space.start), np.asarray(space.start + space.n - 1)
    return space.low, space.high
