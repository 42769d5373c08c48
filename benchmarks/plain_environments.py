"""Environments of the plain implementation: gymnasium's single ones, in one process or several.

Either way there are G tasks with B episodes each, G = 1 in `Sync` and N in `Processes`:
`reset(tasks [G, ...], seeds [G, B])` returns observations [G, B, O], `step(actions [G, B, A])`
observations, rewards [G, B] and whether an episode is over [G, B].
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import envs  # noqa: F401  (registers the environments)
from envs.locomotion.mujoco_utils import log_warnings
from rlmaml.config import TrainConfig


class Once(gymnasium.Wrapper):
    """One episode: after its end it rests, where a vector environment would begin another."""

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        self._ended = False
        self._last, _ = self.env.reset(**arguments)
        return self._last, {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        reward: Any = 0.0
        if not self._ended:
            self._last, reward, terminated, truncated, _ = self.env.step(action)
            self._ended = bool(terminated or truncated)
        return self._last, reward, False, False, {"ended": self._ended}


class Goal(gymnasium.Wrapper):
    """gymnasium's own robot with the reward of a task, given in `reset`."""

    def __init__(self, env: gymnasium.Env, forward: Callable[[float, Any], float]) -> None:
        super().__init__(env)
        self._forward = forward

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self._task = options["task"]
        return self.env.reset(seed=seed)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observed, _, terminated, truncated, info = self.env.step(action)
        reward = self._forward(info["x_velocity"], self._task) + info["reward_ctrl"]
        return observed, reward, terminated, truncated, info


FORWARD: dict[str, Callable[[float, Any], float]] = {
    "rlmaml/HalfCheetahVel-v0": lambda velocity, goal: -abs(velocity - goal[0]),
    "rlmaml/HalfCheetahDir-v0": lambda velocity, backward: -velocity if backward else velocity,
}
"""Robots that are taken from gymnasium, as packages do: the single environments of `envs` are the
same but check more, which takes as long again as the step."""


def make(config: TrainConfig) -> gymnasium.Env:
    log_warnings()  # not to the terminal
    limit: Any = {"max_episode_steps": config.horizon, "disable_env_checker": True}
    name, arguments = config.env.id, config.env.kwargs
    if name not in FORWARD:
        return Once(gymnasium.make(name, **limit, **arguments))
    of_tasks = ("goal_range", "test_goal_range", "balanced")
    own = {key: value for key, value in arguments.items() if key not in of_tasks}
    own = {"ctrl_cost_weight": 0.05, **own}
    return Once(Goal(gymnasium.make("HalfCheetah-v5", **limit, **own), FORWARD[name]))


class Sync:
    """The episodes of one task, in this process."""

    def __init__(self, config: TrainConfig) -> None:
        made = [partial(make, config)] * config.episodes
        self._env = SyncVectorEnv(made, copy=False, autoreset_mode=AutoresetMode.DISABLED)

    def reset(self, tasks: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        observed, _ = self._env.reset(seed=seeds[0].tolist(), options={"task": tasks[0]})
        return observed[None].astype(np.float32)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        observed, rewards, _, _, info = self._env.step(actions[0])
        return observed[None].astype(np.float32), rewards[None], info["ended"][None]

    def close(self) -> None:
        self._env.close()


class Processes:
    """The episodes of all tasks, a group of tasks to each of several processes."""

    def __init__(self, config: TrainConfig, processes: int) -> None:
        self._groups = np.array_split(np.arange(config.tasks), min(processes, config.tasks))
        self._episodes, self._pipes, self._workers = config.episodes, [], []
        for group in self._groups:
            ours, theirs = multiprocessing.Pipe()
            arguments = (theirs, config, len(group) * config.episodes)
            worker = multiprocessing.Process(target=serve, args=arguments, daemon=True)
            worker.start()
            theirs.close()
            self._pipes.append(ours)
            self._workers.append(worker)
        for pipe in self._pipes:
            pipe.recv()  # all environments are made

    def _exchange(self, command: str, *arrays: np.ndarray) -> list[np.ndarray]:
        """Arrays [N, B, ...] there and back, split by tasks."""
        for pipe, group in zip(self._pipes, self._groups, strict=True):
            pipe.send((command, *(np.concatenate(array[group]) for array in arrays)))
        received = [pipe.recv() for pipe in self._pipes]  # each [envs of the worker, ...]
        arrays = (np.concatenate(pieces) for pieces in zip(*received, strict=True))
        return [array.reshape(-1, self._episodes, *array.shape[1:]) for array in arrays]

    def reset(self, tasks: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        each = np.repeat(tasks[:, None], self._episodes, axis=1)
        return self._exchange("reset", each, seeds)[0]

    def step(self, actions: np.ndarray) -> list[np.ndarray]:
        return self._exchange("step", actions)

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.send(("close",))
        for worker in self._workers:
            worker.join()


def serve(pipe: Connection, config: TrainConfig, count: int) -> None:
    """A worker: steps its environments one after the other, when told to through the pipe."""
    made = [make(config) for _ in range(count)]
    pipe.send("ready")
    while (message := pipe.recv())[0] != "close":
        if message[0] == "reset":
            rows = [
                env.reset(seed=int(seed), options={"task": task})[0]
                for env, task, seed in zip(made, *message[1:], strict=True)
            ]
            pipe.send((np.array(rows, np.float32),))
        else:
            steps = [env.step(action) for env, action in zip(made, message[1], strict=True)]
            observed, rewards, _, _, infos = zip(*steps, strict=True)
            ended = [info["ended"] for info in infos]
            pipe.send((np.array(observed, np.float32), np.array(rewards), np.array(ended)))
