"""Tasks of a run to show, and its policy before and after adaptation to them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlmaml import AdaptedPolicy
from rlmaml.config import TrainConfig
from rlmaml.errors import ConfigError
from rlmaml.rng import Phase, generator
from rlmaml.sampling.task_sampler import TaskSampler
from rlmaml.sampling.task_values import text
from rlmaml.sampling.tasks import attribute
from runners import environments
from runners.run_dir import RunDir
from runners.training.checkpoints import load_learner

MAX_TASKS = 4
"""All tasks of a Discrete space of this size or less are shown where none is asked for."""


class Adaptation:
    """Adapts a run's policy to a task, with the same random draws for every task.

    Args:
        folder: the run.
        checkpoint: a checkpoint's folder, or `best`; the newest if None.
        episodes: per inner step.
        seed: of the draws.

    Raises:
        ConfigError: a checkpoint that is missing, cut short or altered.
    """

    def __init__(self, folder: RunDir, checkpoint: Path | None, episodes: int, seed: int) -> None:
        self.config = folder.read_config()
        self._learner = load_learner(folder, checkpoint)
        self._episodes, self._seed = episodes, seed

    def policy(self, task: Any, steps: int) -> AdaptedPolicy:
        """The policy for a task after `steps` inner steps, 0 for none.

        Raises:
            ConfigError: an environment with other spaces than the run's, or no task of it.
        """
        episodes = self._episodes if steps else 1  # an environment is made for each
        make = partial(environments.make_with_task, self.config, task)
        try:
            return self._learner.adapt(make, steps=steps, episodes=episodes, seed=self._seed)
        except (ValueError, TypeError) as problem:
            raise ConfigError(f"Cannot adapt to task {text(task)}: {problem}") from problem

    def paths(self, task: Any, steps: int) -> list[NDArray[np.float64]]:
        """Observations of the episodes that the next inner step would learn from.

        They are sampled with the policy after `steps` inner steps.

        Returns:
            One array per episode, [T, *obs], without observation normalization.
        """
        policy = self.policy(task, steps + 1)
        episodes = policy.episodes[steps]
        observations = episodes.observations.double()
        if policy.normalizer is not None:
            observations = policy.normalizer.undo(observations)
        lengths = episodes.mask.sum(-1).int().tolist()
        return [path[:n].numpy() for path, n in zip(observations, lengths, strict=True)]


def steps_shown(config: TrainConfig, steps: int | None) -> int:
    """Inner steps to show: those asked for, else as in training, but at least 1."""
    return max(config.inner.steps, 1) if steps is None else steps


def choose_tasks(config: TrainConfig, task: ArrayLike, seed: int) -> np.ndarray:
    """The tasks to show.

    Args:
        config: the run's.
        task: numbers in any arrangement, one or several points of `task_space` one after another.
            Empty: all points of a small Discrete space, else a test task.
        seed: draws the test task, the one of `rlmaml evaluate --tasks 1`.

    Returns:
        [n, *task_space.shape], or objects [n].

    Raises:
        ConfigError: numbers that are no points of the task space, or a run on labeled examples.
    """
    if config.data == "examples":
        raise ConfigError("The run learned from labeled examples: there is nothing to draw.")
    env = environments.make_env(config, 1, 1)
    space = attribute(env, "task_space")
    try:
        if np.size(task):
            return environments.task_points(space, task)
        if isinstance(space, gymnasium.spaces.Discrete) and space.n <= MAX_TASKS:
            return np.arange(space.start, space.start + space.n)
        rng = generator(seed, 0, Phase.EVALUATION_TASKS)
        try:
            return TaskSampler(env)(1, rng, split="test")
        except ValueError as problem:
            raise ConfigError(f"There are no test tasks: {problem}") from problem
    finally:
        env.close()
