"""A run's policy before and after adaptation, for looking at: which tasks, and which policies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from rlmaml import AdaptedPolicy
from rlmaml.errors import ConfigError
from rlmaml.rng import Phase, generator
from runners import environments
from runners.config import TrainConfig
from runners.run_dir import RunDir
from runners.training.checkpoints import load

FEW = 4
"""Of so many tasks, or fewer, all are shown where none was asked for."""


class Adaptation:
    """Adapts a run's policy to one task or another, always by the same draws.

    Args:
        folder: the run.
        checkpoint: which checkpoint: its folder, or `best`; the newest if None.
        episodes: for each inner step.
        seed: of these draws.

    Raises:
        ConfigError: there is no checkpoint, or it is cut or altered.
    """

    def __init__(self, folder: RunDir, checkpoint: Path | None, episodes: int, seed: int) -> None:
        self.config = folder.read_config()
        self._learner = load(folder, checkpoint)
        self._episodes, self._seed = episodes, seed

    def policy(self, task: Any, steps: int) -> AdaptedPolicy:
        """The policy for a task after `steps` inner steps, 0 for none.

        Raises:
            ConfigError: the run is of another world, or its environment cannot be copied.
        """
        env = environments.make_single(self.config)
        environments.set_task(env, task)
        episodes = self._episodes if steps else 1  # it takes a copy for each
        try:
            return self._learner.adapt(env, steps=steps, episodes=episodes, seed=self._seed)
        except (ValueError, TypeError) as problem:
            label = np.asarray(task).tolist()
            raise ConfigError(f"Cannot adapt to task {label}: {problem}") from problem
        finally:
            env.close()

    def paths(self, task: Any, steps: int) -> list[np.ndarray]:
        """What was observed, [T, *obs] each, in the episodes that would be learned from next.

        They are sampled with the policy after `steps` inner steps.
        """
        policy = self.policy(task, steps + 1)
        sampled = policy.episodes[steps]
        observed = sampled.observations.double()
        if policy.normalizer is not None:
            observed = policy.normalizer.undo(observed)
        lengths = sampled.mask.sum(-1).int().tolist()
        return [path[:n].numpy() for path, n in zip(observed, lengths, strict=True)]


def steps_shown(config: TrainConfig, steps: int | None) -> int:
    """Inner steps to show: as in training, or 1 where that had none, unless told otherwise."""
    return max(config.inner.steps, 1) if steps is None else steps


def choose_tasks(config: TrainConfig, task: Any, seed: int) -> np.ndarray:
    """The tasks to show, [n, *task_space.shape].

    Args:
        config: the run's.
        task: numbers in any arrangement, a point of `task_space` or several one after another.
            None: all points of a small Discrete space, else a test task.
        seed: draws the test task, the one of `rlmaml evaluate --tasks 1`.

    Raises:
        ConfigError: not points of the task space, or the run is of a kind that is not shown.
    """
    if config.data == "examples":
        raise ConfigError("The run learned from labeled examples: there is nothing to draw.")
    env = environments.make_env(config, 1, 1)
    space = env.task_space
    try:
        if task is None or np.size(task) == 0:
            if isinstance(space, gymnasium.spaces.Discrete) and space.n <= FEW:
                return np.arange(space.start, space.start + space.n)
            rng = generator(seed, 0, Phase.EVALUATION_TASKS)
            return np.asarray(env.sample_tasks(1, rng, split="test"))
    except ValueError as problem:
        raise ConfigError(f"There are no test tasks: {problem}") from problem
    finally:
        env.close()
    return environments.task_points(space, task)
