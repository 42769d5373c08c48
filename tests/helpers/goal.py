"""A point on a plane that is to reach a goal, as a user writes one; and runs on variants of it."""

import contextlib
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from rlmaml import tree
from rlmaml.config import EnvConfig
from rlmaml.errors import ConfigError, EnvironmentFault
from rlmaml.rng import generator
from runners.environments import build_experiment
from runners.presets import PRESETS
from runners.training.train import meta_batch
from tests.helpers import runs

SMALLEST = [
    *("--env.kwargs", "{}", "--tasks", "2", "--episodes", "3", "--horizon", "6", "--quiet"),
    *("--iterations", "1", "--policy.hidden", "4", "--threads", "1", "--inner.steps", "1"),
]


class Goal(gymnasium.Env):
    """Move by an action, and be paid for being near the goal, which is the task."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-0.1, 0.1, (2,), np.float32)
    task_space = spaces.Box(-1.0, 1.0, (2,), np.float64)
    goal = np.array([0.5, 0.5])

    def set_task(self, task):
        self.goal = np.asarray(task, float)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.time = np.zeros(2), 0
        return self.seen(), {}

    def step(self, action):
        self.x, self.time = self.x + self.moved(action), self.time + 1
        return self.seen(), -float(np.linalg.norm(self.x - self.goal)), False, False, {}

    def seen(self):
        """The observation: where it is."""
        return self.x.astype(np.float32)

    def moved(self, action):
        """What an action adds to where it is."""
        return action


class Changed(Goal):
    """One whose steps return something else: `change(self, *what a step returns)`."""

    def step(self, action):
        return type(self).change(self, *super().step(action))


def variant(name, base=Goal, limit=None, **members):
    """The id of a class of that name with other members, registered."""
    kind = type(name, (base,), members)
    gymnasium.registry.pop(f"{name}-v0", None)
    gymnasium.register(f"{name}-v0", entry_point=kind, max_episode_steps=limit)
    return f"{name}-v0"


def changed(name, change, **members):
    """The id of a `Changed`."""
    return variant(name, Changed, change=change, **members)


def words(env_id, out, *more):
    return ["train", "navigation", "--env.id", env_id, "--out", out, *SMALLEST, *more]


def trained(env_id, out, *more):
    """The folder of the smallest run."""
    runs.run(*words(env_id, out, *more))
    return runs.RunDir(out)


def small(env_id, horizon=6):
    """The settings of the smallest run."""
    sizes = {"tasks": 2, "episodes": 3, "horizon": horizon, "threads": 1}
    return replace(PRESETS["navigation"].config, env=EnvConfig(env_id), **sizes)


def sampled(config):
    """Episodes of two tasks that a new policy plays."""
    with contextlib.closing(build_experiment(config)) as made:
        tasks = made.sample_tasks(2, generator(0))
        return made.sampler(tree.repeat(made.params, 2), tasks, (0, 0, 0))


def updated(config):
    """A run's meta-parameters before and after its first update."""
    with contextlib.closing(build_experiment(config)) as made:
        state = made.algorithm.initial_state(made.algorithm.init_meta(made.params))
        new, _ = made.algorithm.update(state, meta_batch(made, config, state.meta, 0))
    return tree.leaves(state.meta), tree.leaves(new.meta)


def not_made(config):
    """What is said where nothing can be made of a run, which is before there is a folder."""
    with pytest.raises((ConfigError, EnvironmentFault)) as refusal:
        build_experiment(config)
    said = str(refusal.value)
    assert "\n" not in said
    return said


def refused(capsys, env_id, out, *more):
    """What the command line says of a run that is refused before anything is written."""
    said = runs.refused(capsys, *words(env_id, out, *more))
    assert not out.exists()
    return said
