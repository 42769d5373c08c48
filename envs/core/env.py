"""The single environments: a task that can be set, seen, sampled and pickled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from .step import DIVERGED
from .tasks import Split, Tasks
from .vector_env import TaskVectorEnv


class TaskEnv(gymnasium.Env[Any, Any]):
    """A gymnasium environment with a task.

    Subclasses put the task in `info["task"]`, and honor `options={"task": ...}` by `_take_options`.

    Args:
        tasks: the task family; its default task is taken.
        parameters: what the subclass's constructor was given, to be pickled.
    """

    def __init__(self, tasks: Tasks, parameters: Mapping[str, object]) -> None:
        self._family = tasks
        self._task = tasks.check(tasks.default[None], 1)
        self._parameters = dict(parameters)

    @property
    def task_space(self) -> spaces.Box | spaces.Discrete:
        """The space that tasks are points of."""
        return self._family.space

    @property
    def task(self) -> np.ndarray:
        """The task, `[*task_space.shape]`. Setting it is `set_task`."""
        return self._task[0].copy()

    @task.setter
    def task(self, task: ArrayLike) -> None:
        self.set_task(task)

    def describe(self, task: np.ndarray) -> str:
        """Caption of a task, `[*task_space.shape]`, in a few words."""
        return self._family.describe(task)

    def set_task(self, task: ArrayLike) -> None:
        """Reward by `task` from the next step on. It stays through resets, copies and pickles.

        Raises:
            ValueError: no point of `task_space`.
        """
        self._task = self._family.check(np.asarray(task)[None], 1)

    def sample_tasks(self, n: int, rng: np.random.Generator, split: Split = "train") -> np.ndarray:
        """`n` tasks, `[n, *task_space.shape]`, drawn from `rng` alone.

        Raises:
            ValueError: an unknown `split`.
        """
        return self._family.sample(n, rng, split)

    def _take_options(self, options: Mapping[str, object] | None) -> None:
        options = options or {}
        unknown = sorted(set(options) - {"task"})
        if unknown:
            raise ValueError(f"unknown reset options {unknown}; this environment has 'task'")
        if "task" in options:
            self.set_task(np.asarray(options["task"]))

    # A simulation does not pickle; what it was made with, and its task, do.
    def __getstate__(self) -> dict[str, object]:
        return {"parameters": self._parameters, "task": self.task, "spec": self.spec}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["parameters"])
        self.set_task(state["task"])
        self.spec = state["spec"]


class SingleEnv(TaskEnv):
    """A vector environment of one simulation, as a `gymnasium.Env`.

    So everything but drawing is written once. A finished episode stays as it ended: further
    steps earn 0 until a reset.

    Args:
        vector: of one simulation, without a time limit and with autoreset disabled.
        tasks: the vector environment's task family.
        parameters: what the subclass's constructor was given, to be pickled.
    """

    def __init__(
        self, vector: TaskVectorEnv, tasks: Tasks, parameters: Mapping[str, object]
    ) -> None:
        super().__init__(tasks, parameters)
        self._vector = vector
        self.diagnostics = vector.diagnostics
        self.observation_space = vector.single_observation_space
        self.action_space = vector.single_action_space

    def set_task(self, task: ArrayLike) -> None:
        super().set_task(task)
        self._vector.set_tasks(self._task)

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, object] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin a new episode; `options={"task": ...}` is `set_task` first."""
        super().reset(seed=seed)
        self._take_options(options)
        self._vector.use_generators([self.np_random])
        observations, _ = self._vector.reset()
        return observations[0], {"task": self.task}

    def step(self, action: ArrayLike) -> tuple[Any, np.float64, bool, bool, dict[str, Any]]:
        """Advance by one step under `action`, `[A]`, or an integer of a Discrete space.

        Raises:
            ValueError: wrong shape, not finite, or no action of a Discrete space.
            gymnasium.error.ResetNeeded: no reset came before.
        """
        observations, rewards, terminations, truncations, infos = self._vector.step(
            np.asarray(action)[None]
        )
        info = {name: values[0] for name, values in infos.items() if not name.startswith("_")}
        info["diverged"] = info[DIVERGED] = bool(info[DIVERGED])
        terminated, truncated = bool(terminations[0]), bool(truncations[0])
        return observations[0], rewards[0], terminated, truncated, info
