"""Task families: which tasks there are, how they are drawn and what they reward.

A task is a point of `family.space`, a gymnasium space, so tasks stack into one array
`[n, *space.shape]`, print, compare and go on a command line. Everything here is a function of
arrays with one row per simulation: one robot and eight hundred run the same lines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Literal, TypeVar

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

Split = Literal["train", "validation", "test"]
"""Families that hold nothing out for validation draw "validation" as they draw "train"."""

S = TypeVar("S", contravariant=True)


class Tasks(ABC, Generic[S]):
    """A family of tasks that reward S, what a step amounted to.

    S is a `Motion` for robots, positions `[M, 2]` for a point, losses `[M]` for examples and a
    `TableStep` for tables. Subclasses supply `space`, `default`, `sample` and `reward`.
    """

    space: spaces.Box | spaces.Discrete
    """Every task is a point of it."""
    default: np.ndarray
    """The task of an environment that was given none, `[*space.shape]`."""

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        """`n` tasks, `[n, *space.shape]`, drawn from `rng` and nothing else.

        Raises:
            ValueError: an unknown `split`.
        """

    @abstractmethod
    def reward(self, tasks: np.ndarray, result: S) -> NDArray[np.float64]:
        """Reward of M steps, `[M]`; a robot's own costs come on top.

        Args:
            tasks: a task each, `[M, *space.shape]`.
            result: what the steps amounted to, a row for each.
        """

    def describe(self, task: np.ndarray) -> str:
        """Caption of a task, `[*space.shape]`, in a few words."""
        return f"task {np.array2string(np.asarray(task), precision=2, threshold=4)}"

    def check(self, tasks: ArrayLike, count: int) -> np.ndarray:
        """`tasks` as a fresh read-only array `[count, *space.shape]` of the space's dtype.

        Raises:
            ValueError: wrong shape, not a number of the space's kind, or outside the space.
        """
        given = np.asarray(tasks)
        named = _name(self.space)
        expected = (count, *(self.space.shape or ()))
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
        _check_inside(self.space, given)
        checked = given.astype(wanted, copy=True)
        checked.flags.writeable = False
        return checked


def check_split(split: str) -> Split:
    """`split` itself.

    Raises:
        ValueError: none of "train", "validation" and "test".
    """
    if split not in ("train", "validation", "test"):
        raise ValueError(f"split is {split!r}; there are 'train', 'validation' and 'test'")
    return split


def _check_inside(space: spaces.Box | spaces.Discrete, tasks: np.ndarray) -> None:
    low, high = _bounds(space)
    inside = (tasks >= low) & (tasks <= high) & np.isfinite(tasks)
    if inside.all():
        return
    first, *index = np.argwhere(~inside)[0].tolist()
    outside = f"{tasks[first].tolist()}"
    if _is_large(space):
        outside = f"{tasks[first][tuple(index)]} at {index}"
    raise ValueError(
        f"task {first} is {outside}, outside the task space {_name(space)}; choose a finite one "
        "inside it, or widen the range that the environment was made with"
    )


def _is_large(space: spaces.Box | spaces.Discrete) -> bool:
    """True if the bounds of a task are too long to print."""
    return int(np.prod(space.shape or ())) > 8


def _name(space: spaces.Box | spaces.Discrete) -> str:
    return f"Box of shape {space.shape}" if _is_large(space) else str(space)


def _bounds(space: spaces.Box | spaces.Discrete) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(space, spaces.Discrete):
        return np.asarray(space.start), np.asarray(space.start + space.n - 1)
    return space.low, space.high
