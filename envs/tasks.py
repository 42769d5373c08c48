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

        `tasks` is `[M, *space.shape]`. For a robot, `outcome` is its velocity along x in metres
        a second, `[M]`; for a point, its position, `[M, 2]`; for an example, the loss, `[M]`;
        for a table, what `TabularTasks` says, `[M, 3]`. A robot's costs come on top.
        """

    def goal_velocity(self, task: NDArray[Any]) -> float | None:
        """The velocity along x, in metres a second, that a task asks for, `[*space.shape]`.

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


class GoalVelocity(Tasks):
    """Run along x at a given velocity: pays -|v - v*|.

    A task is v* in metres a second, in a Box of shape (1,) that holds both ranges.

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
