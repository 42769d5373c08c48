"""Task families as the sampler sees them.

A task-parameterized environment is a Gymnasium environment with `task_space` and `set_task(task)`;
a point of `task_space` is a task. `sample_tasks(n, rng)` is optional: without it tasks are drawn
from `task_space`. A batched environment has `set_tasks(tasks)` instead and is used as it is; any
other goes through Gymnasium's own vector environments, made by `vectorize`.
"""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import signal
from collections.abc import Callable
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rlmaml.errors import ConfigError
from rlmaml.sampling.env_check import PlainNumbers, check_env
from rlmaml.sampling.faults import env_name

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
        """Give copy i task i. tasks: [num_envs, *task_space.shape]."""
        ...

    def reset(
        self, *, seed: Any = None, options: Info | None = None
    ) -> tuple[np.ndarray, Info]: ...
    def step(self, actions: np.ndarray) -> StepResult: ...
    def close(self) -> None: ...


class TaskProperty(PlainNumbers):
    """Makes the task an attribute, because vector environments can set those one by one."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        for name in ("task_space", "set_task"):
            if not hasattr(env.unwrapped, name):
                raise TypeError(
                    f"{env.unwrapped} has no `{name}`. An environment to meta-train on needs "
                    "`task_space` (a Gymnasium space whose points are tasks) and "
                    "`set_task(task)`."
                )

    @property
    def task(self) -> object:
        """The task that is set; None where the environment does not say."""
        return getattr(self.env.unwrapped, "task", None)

    @task.setter
    def task(self, task: object) -> None:
        self.env.unwrapped.set_task(task)  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def task_space(self) -> gymnasium.Space:
        return self.env.unwrapped.task_space  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def task_sampler(self) -> Callable | None:
        return getattr(self.env.unwrapped, "sample_tasks", None)


class Vectorized(VectorWrapper):
    """A Sync- or AsyncVectorEnv of a task-parameterized environment, with `set_tasks`."""

    def __init__(self, env: VectorEnv, example: TaskProperty) -> None:
        super().__init__(env)
        self.task_space = example.task_space
        self.diagnostics = tuple(getattr(example.env.unwrapped, "diagnostics", ()))
        self._sample = example.task_sampler
        self.env_name = env_name(example)
        try:
            check_env(example, self.sample_tasks)
        except BaseException:
            env.close()
            raise

    def set_tasks(self, tasks: np.ndarray) -> None:
        """Give environment i task i. tasks: [num_envs, *task_space.shape]."""
        self.env.set_attr("task", list(tasks))  # pyright: ignore[reportAttributeAccessIssue]

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> np.ndarray:
        """Draw n tasks by the environment's own law if it has one, else from `task_space`.

        `split` ("train" or "test") goes to environments that tell the two apart.
        """
        if self._sample is None:
            return sample_space(self.task_space, n, rng)
        splits = "split" in inspect.signature(self._sample).parameters
        return np.asarray(self._sample(n, rng, split=split) if splits else self._sample(n, rng))


class TaskObservation(VectorWrapper):
    """Shows policies their task: what an oracle sees, [*observation, *task] as one vector.

    A Discrete observation or task counts as its one-hot vector.

    Args:
        env: a vector environment with `task_space` and `set_tasks`.
    """

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.task_space, self.sample_tasks = env.task_space, env.sample_tasks
        self.diagnostics = tuple(getattr(env, "diagnostics", ()))
        self._observed = env.single_observation_space
        size = sum(gymnasium.spaces.flatdim(s) for s in (self._observed, self.task_space))
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
                last = flat(self._observed, np.asarray(final[i])[None])[0]
                final[i] = np.concatenate([last, self._shown[i]])
            info = {**info, "final_obs": final}
        return self._show(observations), rewards, terminations, truncations, info

    def _show(self, observations: np.ndarray) -> np.ndarray:
        return np.concatenate([flat(self._observed, observations), self._shown], 1)


def flat(space: gymnasium.Space, points: np.ndarray) -> np.ndarray:
    """Points [n, ...] of a Box or Discrete as vectors [n, D]; of a Discrete one-hot."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return np.eye(int(space.n))[points - space.start]
    return points.reshape(len(points), -1)


class FixedTask(VectorWrapper):
    """Copies of one environment that keep the task they have.

    Attributes:
        own: whether they were made for this, and are to be closed with it.
    """

    def __init__(self, env: VectorEnv, diagnostics: tuple[str, ...], own: bool) -> None:
        super().__init__(env)
        self.diagnostics, self.own = diagnostics, own

    def set_tasks(self, tasks: np.ndarray) -> None:
        """Do nothing: the task is the environment's own."""


def with_fixed_task(env: gymnasium.Env | VectorEnv, count: int) -> FixedTask:
    """An environment's task in `count` copies, or in those of a vector environment.

    Raises:
        TypeError: an environment that cannot be copied.
        ConfigError: copies of a vector environment with several tasks.
    """
    if isinstance(env, VectorEnv):
        tasks = getattr(env, "tasks", None)
        if tasks is None and isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv):
            try:
                tasks = env.unwrapped.get_attr("task")
            except AttributeError:  # whatever the task is, it cannot be asked for
                tasks = None
        if tasks is not None and any(not np.array_equal(each, tasks[0]) for each in tasks):
            raise ConfigError(
                f"The copies of {env} have several tasks: give all of them the one to adapt to."
            )
        return FixedTask(env, tuple(getattr(env, "diagnostics", ())), own=False)
    try:
        copies = [copy.deepcopy(env) for _ in range(count)]
    except Exception as problem:  # whatever a simulator raises
        raise TypeError(
            f"{env} cannot be copied ({type(problem).__name__}: {problem}): pass a vector "
            "environment instead, for example gymnasium.vector.SyncVectorEnv of functions that "
            "make it with its task, in SAME_STEP autoreset mode."
        ) from problem
    for each in copies:
        if hasattr(each.unwrapped, "render_mode"):
            each.unwrapped.render_mode = None  # one window, or none, is what was asked for
    makers = [lambda each=each: PlainNumbers(each) for each in copies]
    vector = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    return FixedTask(vector, tuple(getattr(env.unwrapped, "diagnostics", ())), own=True)


def sample_space(space: gymnasium.Space, n: int, rng: np.random.Generator) -> np.ndarray:
    """n points of a Box or Discrete, uniformly, from our generator and not the space's own."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return space.start + rng.integers(space.n, size=n)
    if isinstance(space, gymnasium.spaces.Box) and np.issubdtype(space.dtype, np.integer):
        return rng.integers(space.low, space.high, (n, *space.shape), space.dtype, endpoint=True)
    if isinstance(space, gymnasium.spaces.Box):
        if not space.is_bounded():
            raise ConfigError(
                f"Cannot draw tasks uniformly from the unbounded {space}: give the "
                "environment `sample_tasks(n, rng)`."
            )
        return rng.uniform(space.low, space.high, (n, *space.shape)).astype(space.dtype)
    raise ConfigError(
        f"task_space must be a Box or Discrete, got {space}: give the environment "
        "`sample_tasks(n, rng)`."
    )


def vectorize(
    make: Callable[[], gymnasium.Env], num_envs: int, *, asynchronous: bool = False
) -> Vectorized:
    """Many copies of a task-parameterized environment, in this process or one process each.

    Args:
        make: makes one environment, with `task_space` and `set_task`.
        num_envs: how many: tasks x episodes of the sampler.
        asynchronous: gymnasium's AsyncVectorEnv instead of SyncVectorEnv; pays for
            environments that take milliseconds a step.

    Raises:
        TypeError: an environment without `task_space` or `set_task`.
    """

    def wrapped() -> TaskProperty:
        if multiprocessing.parent_process() is not None:
            # A terminal sends Ctrl-C to every process; the main one decides when workers end.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return TaskProperty(make())

    example = wrapped()
    kind = AsyncVectorEnv if asynchronous else SyncVectorEnv
    return Vectorized(kind([wrapped] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP), example)
