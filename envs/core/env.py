"""What the single environments share: a task that can be set, seen, sampled and pickled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from .tasks import Split, Tasks


class TaskEnv(gymnasium.Env):
    """A gymnasium environment with a task. Mixed into a robot, or subclassed.

    Subclasses call `_start_tasks` first in their constructor, put `info["task"]`, and honor
    `options={"task": ...}` by `_take_options`.
    """

    _tasks: Tasks
    _task: NDArray[Any]
    _parameters: dict[str, Any]

    def _start_tasks(self, tasks: Tasks, parameters: dict[str, Any]) -> None:
        """Take the default task. `parameters` are what the constructor was given."""
        self._tasks = tasks
        self._task = tasks.check(tasks.default[None], 1)
        self._parameters = parameters

    @property
    def task_space(self) -> spaces.Box | spaces.Discrete:
        """The space that tasks are points of."""
        return self._tasks.space

    @property
    def task(self) -> Any:
        """The task, `[*task_space.shape]`. Setting it is `set_task`."""
        return self._task[0].copy()

    @task.setter
    def task(self, task: ArrayLike) -> None:
        self.set_task(task)

    def describe(self, task: NDArray[Any]) -> str:
        """The task in a few words, for a caption."""
        return self._tasks.describe(task)

    def set_task(self, task: ArrayLike) -> None:
        """Reward by `task` from the next step on. It stays through resets, copies and pickles.

        Raises:
            ValueError: `task` is no point of `task_space`.
        """
        self._task = self._tasks.check(np.asarray(task)[None], 1)

    def sample_tasks(
        self, n: int, rng: np.random.Generator, split: Split = "train"
    ) -> NDArray[Any]:
        """`n` tasks, `[n, *task_space.shape]`, drawn from `rng` alone.

        Raises:
            ValueError: `split` is none of "train", "validation" and "test".
        """
        return self._tasks.sample(n, rng, split)

    def _take_options(self, options: Mapping[str, Any] | None) -> None:
        known = {"task"}
        unknown = set(options or {}) - known
        if unknown:
            raise ValueError(
                f"unknown reset options {sorted(unknown)}; this environment has 'task'"
            )
        if options and "task" in options:
            self.set_task(options["task"])

    # A robot's simulation does not pickle; what it was made with, and its task, do.
    def __getstate__(self) -> dict[str, Any]:
        return {"parameters": self._parameters, "task": self.task, "spec": self.spec}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["parameters"])
        self.set_task(state["task"])
        self.spec = state["spec"]
