"""Task families as the sampler sees them: users' environments, and drawing from a space."""

import gymnasium
import numpy as np
import pytest

from rlmaml import models
from rlmaml.rng import generator
from rlmaml.sampling.vector_env import vectorize
from tests.helpers.problems import TargetEnv

SMALL = models.PolicyConfig(hidden=(8,))


def test_a_users_environment_needs_two_methods_and_says_which_is_missing():
    env = vectorize(TargetEnv, 4)
    tasks = env.sample_tasks(4, generator(0))
    assert tasks.shape == (4, 1)
    assert np.array_equal(tasks, env.sample_tasks(4, generator(0)))
    env.set_tasks(tasks)
    env.reset(seed=0)
    _, rewards, *_ = env.step(tasks.astype(np.float32))
    np.testing.assert_allclose(rewards, 0, atol=1e-12)

    class NoTasks(gymnasium.Env):
        observation_space = action_space = gymnasium.spaces.Discrete(2)

    with pytest.raises(TypeError, match="task_space"):
        vectorize(NoTasks, 2)


def test_tasks_reach_the_processes_of_an_async_environment():
    env = vectorize(TargetEnv, 2, asynchronous=True)
    try:
        tasks = np.array([[0.5], [-0.25]])
        env.set_tasks(tasks)
        env.reset(seed=0)
        _, rewards, *_ = env.step(np.zeros((2, 1), np.float32))
        np.testing.assert_allclose(rewards, [-0.25, -0.0625])
    finally:
        env.close()
