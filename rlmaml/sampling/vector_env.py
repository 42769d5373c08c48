"""Task families as the sampler sees them.

A task-parameterized environment is a Gymnasium environment with `set_task(task)` and either a
`task_space`, whose points are tasks, or `sample_tasks(n, rng)`; it may have both. They may be those
of a wrapper: the outermost counts. A batched environment has `set_tasks(tasks)` instead and is used
as it is; any other goes through Gymnasium's own vector environments, made by `vectorize`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import CloudpickleWrapper, batch_space, iterate
from numpy.typing import NDArray

from rlmaml.errors import ConfigError
from rlmaml.sampling.env_check import PlainNumbers, check_env
from rlmaml.sampling.faults import env_name
from rlmaml.sampling.reports import AsyncCopies, SyncCopies
from rlmaml.sampling.task_sampler import TaskSampler
from rlmaml.sampling.task_values import carried
from rlmaml.sampling.tasks import (
    attribute,
    current_task,
    diagnostics,
    flat,
    is_numeric,
    task_setter,
)
from rlmaml.sampling.worlds import check_worlds

Info = dict[str, Any]
"""Reports of an environment beside observations and rewards."""

StepResult = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Info]
"""Observations [M, *obs], rewards, terminations and truncations [M] each, and the report."""


class TaskVectorEnv(Protocol):
    """A vector environment of copies with a task each: what `RolloutSampler` needs of it."""

    @property
    def num_envs(self) -> int: ...
    @property
    def metadata(self) -> Info: ...
    @property
    def single_observation_space(self) -> gymnasium.Space: ...
    @property
    def single_action_space(self) -> gymnasium.Space: ...

    def set_tasks(self, tasks: NDArray[np.generic]) -> None:
        """Give copy i task i. tasks: [num_envs, *task_space.shape], or objects [num_envs]."""
        ...

    def reset(
        self, *, seed: Any = None, options: Info | None = None
    ) -> tuple[np.ndarray, Info]: ...
    def step(self, actions: np.ndarray) -> StepResult: ...
    def close(self) -> None: ...


class TaskProperty(PlainNumbers):
    """Makes the task an attribute, because vector environments can set those one by one.

    Attributes:
        failure: None; of what stands in its place, why it could not be made.
    """

    failure: str | None = None

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.task_space: gymnasium.Space | None = attribute(env, "task_space")
        setter = task_setter(env)
        lacking = "set_task" if setter is None else None
        if self.task_space is None and attribute(env, "sample_tasks") is None:
            lacking = "task_space"
        if lacking is not None or setter is None:
            raise TypeError(
                f"{env} has no `{lacking}`. An environment to meta-train on needs `set_task(task)` "
                "and `task_space` (a Gymnasium space whose points are tasks) or "
                "`sample_tasks(n, rng)`, on itself or on a wrapper around it."
            )
        self._set_task = setter

    @property
    def task(self) -> Any:
        """The task that is set; None where the environment does not say."""
        return current_task(self.env)

    @task.setter
    def task(self, task: Any) -> None:
        self._set_task(task)


class Vectorized(VectorWrapper):
    """A Sync- or AsyncVectorEnv of a task-parameterized environment, with `set_tasks`.

    Args:
        env: the vector environment, of `TaskProperty`.
        example: one such environment, whose law of tasks is that of all; it is closed with `env`.

    Attributes:
        task_space: None where the environment has none.
        diagnostics: names of what it reports of a step.
        describe: says what a task is, or None.
    """

    def __init__(self, env: VectorEnv, example: TaskProperty) -> None:
        super().__init__(env)
        self.task_space = example.task_space
        self.diagnostics = diagnostics(example.env)
        self.describe: Callable[[Any], str] | None = attribute(example.env, "describe")
        self.env_name = env_name(example)
        self._example, self._sampler = example, TaskSampler(example.env)

    def set_tasks(self, tasks: np.ndarray) -> None:
        """Give environment i task i. tasks: [num_envs, *task_space.shape], or [num_envs]."""
        self.env.set_attr("task", list(tasks))  # pyright: ignore[reportAttributeAccessIssue]

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> np.ndarray:
        """Draw n tasks by the environment's own law if it has one, else from `task_space`.

        `split` ("train" or "test") goes to environments that tell the two apart.

        Raises:
            ConfigError: tasks that are none, or cannot be drawn.
        """
        return self._sampler(n, rng, split)

    def close(self, **kwargs: Any) -> None:
        super().close(**kwargs)
        self._example.close()


class TaskObservation(VectorWrapper):
    """Shows policies their task: what an oracle sees, [*observation, *task] as one vector.

    A Discrete observation or task counts as its one-hot vector; others that are no Box are
    flattened as Gymnasium flattens them.

    Args:
        env: a vector environment with `task_space` and `set_tasks`.

    Raises:
        ConfigError: an environment without `task_space`, or with one that does not flatten.
    """

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.task_space, self.sample_tasks = attribute(env, "task_space"), TaskSampler(env)
        self.diagnostics = diagnostics(env)
        self.describe = attribute(env, "describe")
        self._observed = env.single_observation_space
        if self.task_space is None:
            raise ConfigError(
                "An oracle (--env.observe-task) is shown its task as a point of task_space, and "
                "the environment has none: give it a task_space, or leave the oracle out."
            )
        try:
            size = sum(gymnasium.spaces.flatdim(s) for s in (self._observed, self.task_space))
        except Exception as problem:  # NotImplementedError, ValueError: none of a fixed size
            raise ConfigError(
                f"A policy cannot be shown tasks of task_space {self.task_space} beside "
                f"observations of {self._observed} as one vector: leave the oracle out "
                "(--env.observe-task), or give the environment spaces that flatten."
            ) from problem
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,))
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self._shown = np.zeros((env.num_envs, 0))

    def set_tasks(self, tasks: np.ndarray) -> None:
        """Give environment i task i, and show it. tasks: [num_envs, *task_space.shape]."""
        self.env.set_tasks(tasks)  # pyright: ignore[reportAttributeAccessIssue]
        self._shown = flat(self.task_space, np.asarray(tasks))

    def reset(self, *, seed: Any = None, options: Info | None = None) -> tuple[np.ndarray, Info]:
        observations, info = self.env.reset(seed=seed, options=options)
        return self._show(observations), info

    def step(self, actions: np.ndarray) -> StepResult:
        observations, rewards, terminations, truncations, info = self.env.step(actions)
        if "final_obs" in info:
            final = info["final_obs"].copy()
            for i in np.flatnonzero(info["_final_obs"]):
                one = np.asarray(final[i])[None] if is_numeric(self._observed) else final[i : i + 1]
                final[i] = np.concatenate([flat(self._observed, one)[0], self._shown[i]])
            info = {**info, "final_obs": final}
        return self._show(observations), rewards, terminations, truncations, info

    def _show(self, observations: Any) -> np.ndarray:
        if not is_numeric(self._observed):
            observations = carried(iterate(self.env.observation_space, observations))
        return np.concatenate([flat(self._observed, observations), self._shown], 1)


class _Maker:
    """Makes one environment with its task as an attribute, here or in a worker process.

    A worker that is no fork of this process knows neither its main module nor what that registered
    with Gymnasium, so it is told what is registered.
    """

    def __init__(self, make: Callable[[], gymnasium.Env], spawned: bool) -> None:
        self._make, self._process = make, os.getpid()
        self._specs = _registered() if spawned else []
        self.spaces: tuple[gymnasium.Space, gymnasium.Space] | None = None

    def __call__(self) -> gymnasium.Env:
        if os.getpid() == self._process:
            return TaskProperty(self._make())
        if threading.current_thread() is threading.main_thread():
            # A terminal sends Ctrl-C to every process; the main one decides when workers end.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        for spec in self._specs:
            with contextlib.suppress(Exception):  # a module that is missing here, say
                _register(spec)
        try:
            return TaskProperty(self._make())
        except Exception as problem:
            return _NotMade(self.spaces, f"{type(problem).__name__}: {problem}")


class _NotMade(gymnasium.Env):
    """In the place of an environment that a worker process could not make: the reason."""

    def __init__(self, spaces: Any, failure: str) -> None:
        self.observation_space, self.action_space = spaces
        self.failure = failure


def _registered() -> list[bytes]:
    """What Gymnasium knows and does not bring along, as far as it pickles."""
    pickled = []
    for spec in gymnasium.registry.values():
        if str(spec.entry_point).startswith("gymnasium."):
            continue
        with contextlib.suppress(Exception):  # whatever a user's function refers to
            wrapped = CloudpickleWrapper(spec)  # pyright: ignore[reportArgumentType]
            pickled.append(pickle.dumps(wrapped))
    return pickled


def _register(pickled: bytes) -> None:
    spec: EnvSpec = pickle.loads(pickled).fn
    gymnasium.registry.setdefault(spec.id, spec)


def vectorize(
    make: Callable[[], gymnasium.Env], num_envs: int, *, asynchronous: bool = False
) -> Vectorized:
    """Many copies of a task-parameterized environment, in this process or one process each.

    Args:
        make: makes one environment, with `set_task` and with `task_space` or `sample_tasks`.
        num_envs: how many: tasks x episodes of the sampler.
        asynchronous: gymnasium's AsyncVectorEnv instead of SyncVectorEnv; pays for
            environments that take milliseconds a step.

    Raises:
        TypeError: an environment without these.
        ConfigError: one whose methods return something else than they should, or whose copies
            share one world.
        OSError: a worker process that could not make its environment.
    """
    spawned = asynchronous and multiprocessing.get_start_method() != "fork"
    maker = _Maker(make, spawned)
    example = maker()
    assert isinstance(example, TaskProperty)  # here it is made, or raises
    maker.spaces = example.observation_space, example.action_space
    made: list[gymnasium.Env] = [example]
    try:
        check_env(example, TaskSampler(example.env))
        if asynchronous:
            return Vectorized(_processes(maker, num_envs), example)

        def copy() -> gymnasium.Env:
            made.append(maker())
            return made[-1]

        vector = SyncCopies([copy] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)
        if num_envs > 1:
            check_worlds(made[1], example, TaskSampler(example.env))
        return Vectorized(vector, example)
    except BaseException:
        for each in made:
            each.close()
        raise


def _processes(maker: _Maker, num_envs: int) -> AsyncCopies:
    """An environment in each of so many processes; none is left where one fails."""
    vector = AsyncCopies.__new__(AsyncCopies)
    try:
        vector.__init__([maker] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)
        for i, failure in enumerate(vector.call("failure")):
            if failure is not None:
                raise OSError(f"worker process {i} could not make its environment: {failure}")
    except BaseException as problem:
        for process in getattr(vector, "processes", ()):
            process.terminate()
            process.join()
        if isinstance(problem, EOFError | ConnectionError):
            raise OSError(
                "a worker process ended before its environment was made; what it said is above"
            ) from problem
        raise
    return vector
