"""Batched environments as stable-baselines3's `VecEnv`, for its algorithms and evaluate_policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor

from rlmaml.errors import ConfigError

Indices = None | int | Sequence[int] | NDArray[np.integer]
Infos = list[dict[str, object]]
"""Reports of each copy's step, as stable-baselines3 has them."""


class HasTasks(Protocol):
    """Additions of a vector environment with tasks to Gymnasium's."""

    task_space: gymnasium.Space

    def set_tasks(self, tasks: np.ndarray) -> None:
        """Set the copies' tasks, [M, *task_space.shape]."""
        ...


class BatchedVecEnv(VecEnv):
    """A vector environment with tasks, stepped in one call, behind stable-baselines3's interface.

    Where an episode ends, info has `terminal_observation` and `TimeLimit.truncated`, and the
    observation is the first of the next one. Actions go to the environment as they come:
    stable-baselines3's algorithms clip theirs.

    `get_attr("task")`, `set_attr("task", task, indices)`, `set_attr("tasks", tasks)` and
    `env_method("set_task", task, indices=...)` read and set tasks; other attributes are those of
    the batch, or of each copy where there is a Sync- or AsyncVectorEnv below.

    Args:
        env: of M copies, in autoreset mode SAME_STEP: `gymnasium.make_vec("envs:rlmaml/...")`, or
            `rlmaml.vectorize(...)`.
        tasks: for all copies one task `[*task_space.shape]`, or one each `[M, *task_space.shape]`;
            unchanged if None.

    Raises:
        ConfigError: another autoreset mode, observations of several parts, or tasks of another
            shape.
    """

    def __init__(self, env: VectorEnv, tasks: ArrayLike | None = None) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ConfigError(
                f"stable-baselines3 goes on with the next episode in the step in which one ends, "
                f"but the autoreset mode of {env} is {mode}: make it with "
                "autoreset_mode='SameStep'."
            )
        observed = env.single_observation_space
        if isinstance(observed, gymnasium.spaces.Dict | gymnasium.spaces.Tuple):
            raise ConfigError(
                f"A BatchedVecEnv has one array of observations, but they are {observed}: wrap the "
                "environment in gymnasium.wrappers.vector.FlattenObservation."
            )
        self.env = env
        self._actions: np.ndarray | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        if tasks is not None:
            self.set_tasks(tasks)

    def set_tasks(self, tasks: ArrayLike) -> None:
        """Set one task for all copies, or one each; it counts from the next step on."""
        self._set_task(np.asarray(tasks), range(self.num_envs))

    def seed(self, seed: int | Sequence[int | None] | None = None) -> Sequence[int | None]:
        """Seeds of the next `reset`: one integer s seeds copy i with s + i, a sequence has each.

        Raises:
            ConfigError: a sequence of another length.
        """
        if seed is None or isinstance(seed, int | np.integer):
            return super().seed(None if seed is None else int(seed))
        if len(seed) != self.num_envs:
            raise ConfigError(
                f"Got {len(seed)} seeds for {self.num_envs} environments: one for each is needed."
            )
        self._seeds = [None if s is None else int(s) for s in seed]
        return self._seeds

    def reset(self) -> np.ndarray:
        """Begin new episodes; what `seed` and `set_options` (of which `task`) gave is used once."""
        options = [dict(each) for each in self._options]
        for i, each in enumerate(options):
            if "task" in each:
                self._set_task(np.asarray(each.pop("task")), [i])
        if any(each != options[0] for each in options):
            raise ConfigError(
                "The copies are reset in one call: apart from `task` their options must be equal."
            )
        arguments = {"options": options[0]} if options[0] else {}
        seeds = None if all(s is None for s in self._seeds) else list(self._seeds)
        observations, info = self.env.reset(
            seed=seeds,  # pyright: ignore[reportArgumentType]  one for each copy
            **arguments,
        )
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = _each(info, self.num_envs)
        return self._typed(observations)

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[np.ndarray, NDArray[np.float32], NDArray[np.bool_], Infos]:
        """Observations [M, *obs], rewards [M], whether episodes ended [M], and M infos."""
        if self._actions is None:
            raise ConfigError("step_wait() without step_async(actions).")
        actions, self._actions = self._actions, None
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        done = terminated | truncated
        infos = _each(info, self.num_envs)
        # Outside `final_info` Gymnasium's own vector environments describe the episode that begins.
        last = _each(info["final_info"], self.num_envs) if done.any() else []
        for i in range(self.num_envs):
            if done[i]:
                infos[i] = last[i] | {
                    "terminal_observation": self._typed(np.asarray(info["final_obs"][i]))
                }
            infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
        return self._typed(observations), np.asarray(rewards, np.float32), done, infos

    def close(self) -> None:
        self.env.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """An attribute of each copy; `task` is a task [*task_space.shape] each."""
        chosen = self._indices(indices)
        batch = self.env.unwrapped
        if attr_name == "task" and hasattr(batch, "tasks"):
            values = batch.tasks  # pyright: ignore[reportAttributeAccessIssue]
        elif isinstance(batch, SyncVectorEnv | AsyncVectorEnv):
            values = batch.get_attr(attr_name)
        else:
            values = [getattr(batch, attr_name)] * self.num_envs
        return [values[i] for i in chosen]

    def set_attr(self, attr_name: str, value: object, indices: Indices = None) -> None:
        """Set an attribute of copies to a value: their `task`, or `tasks` for one each.

        Raises:
            AttributeError: another attribute of simulations that run as one.
        """
        chosen = self._indices(indices)
        batch = self.env.unwrapped
        if attr_name in ("task", "tasks"):
            self._set_task(np.asarray(value), chosen)
        elif isinstance(batch, SyncVectorEnv | AsyncVectorEnv):
            values = [value] * self.num_envs
            if len(chosen) < self.num_envs:
                values = list(batch.get_attr(attr_name))
                for i in chosen:
                    values[i] = value
            batch.set_attr(attr_name, values)
        else:
            raise AttributeError(
                f"The copies of {batch} run as one: only `task` and `tasks` can be set of each, "
                f"not {attr_name!r}."
            )

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of copies: `set_task`, or any where each copy is an environment.

        Raises:
            AttributeError: another method of simulations that run as one, or in other processes.
        """
        chosen = self._indices(indices)
        if method_name == "set_task":
            self._set_task(np.asarray(*method_args, *method_kwargs.values()), chosen)
            return [None for _ in chosen]
        if self._copies:
            methods = [self._copies[i].get_wrapper_attr(method_name) for i in chosen]
            return [method(*method_args, **method_kwargs) for method in methods]
        batch = self.env.unwrapped
        if isinstance(batch, SyncVectorEnv | AsyncVectorEnv) and len(chosen) == self.num_envs:
            return list(batch.call(method_name, *method_args, **method_kwargs))
        raise AttributeError(
            f"{method_name!r} cannot be called of single copies of {batch}, only `set_task`: call "
            "it of all together, .env."
        )

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper], indices: Indices = None
    ) -> list[bool]:
        chosen = self._indices(indices)
        return [bool(self._copies) and is_wrapped(self._copies[i], wrapper_class) for i in chosen]

    def get_images(self) -> list[np.ndarray | None]:
        """Pictures of the copies, where each is an environment that draws."""
        if not self._copies:
            return [None] * self.num_envs
        return [np.asarray(copy.render()) for copy in self._copies]

    @property
    def _copies(self) -> Sequence[gymnasium.Env]:
        """The single environments of a SyncVectorEnv; none where simulations run as one."""
        return getattr(self.env.unwrapped, "envs", ())

    def _set_task(self, task: np.ndarray, chosen: Sequence[int]) -> None:
        """One task for the chosen copies, or one each."""
        env = cast(HasTasks, self.env)
        shape = env.task_space.shape or ()
        if task.shape == shape:
            task = np.broadcast_to(task, (len(chosen), *shape))
        if task.shape != (len(chosen), *shape):
            raise ConfigError(
                f"A task has shape {shape}: give one, or {len(chosen)} of them; got {task.shape}."
            )
        tasks: list[np.ndarray] = list(task)
        if len(chosen) < self.num_envs:
            tasks = self.get_attr("task")
            if any(each is None for each in tasks):
                raise ConfigError(
                    "The environment does not say what task it has (an attribute `task`), so that "
                    "single copies cannot be given another: set those of all."
                )
            for i, each in zip(chosen, task, strict=True):
                tasks[i] = each
        env.set_tasks(np.stack(tasks))

    def _typed(self, observations: np.ndarray) -> np.ndarray:
        return np.array(observations, self.observation_space.dtype)

    def _indices(self, indices: Indices) -> list[int]:
        every = range(self.num_envs)
        if indices is None:
            return list(every)
        return [every[i] for i in np.atleast_1d(indices).tolist()]


def _each(info: dict[str, Any], count: int) -> Infos:
    """Gymnasium's dictionary of arrays, with `_key` for who has it, as one dictionary a copy."""
    every = np.ones(count, bool)
    infos: Infos = [{} for _ in range(count)]
    for key, values in info.items():
        if key.startswith("_") or key in ("final_obs", "final_info"):
            continue
        if isinstance(values, dict):
            values = _each(values, count)
        for i in np.flatnonzero(info.get(f"_{key}", every)):
            infos[i][key] = values[i]
    return infos


def as_vec_env(env: gymnasium.Env | VectorEnv | VecEnv) -> VecEnv:
    """Make a `VecEnv` of an environment, single or batched; one that is a `VecEnv` stays the same.

    A monitor is added, so that learning reports returns.
    """
    if isinstance(env, VecEnv):
        return env
    if isinstance(env, VectorEnv):
        return VecMonitor(BatchedVecEnv(env))
    monitored = env if is_wrapped(env, Monitor) else Monitor(env)
    return DummyVecEnv([lambda: monitored])
