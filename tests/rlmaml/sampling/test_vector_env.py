"""Task families as the sampler sees them: users' environments, and drawing from a space."""

import gymnasium
import numpy as np
import pytest

from rlmaml import models
from rlmaml.errors import ConfigError
from rlmaml.rng import generator
from rlmaml.sampling.vector_env import sample_space, vectorize
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


def test_sample_space_covers_boxes_and_discretes_and_refuses_the_rest():
    box = gymnasium.spaces.Box(np.array([0.0, 10.0]), np.array([1.0, 11.0]), dtype=np.float64)
    drawn = sample_space(box, 500, generator(1))
    assert all(box.contains(point) for point in drawn)
    assert np.ptp(drawn, axis=0).min() > 0.9
    whole = gymnasium.spaces.Box(0, 2, (1,), np.int64)
    assert set(sample_space(whole, 99, generator(1)).ravel()) == {0, 1, 2}
    assert set(sample_space(gymnasium.spaces.Discrete(3, start=5), 99, generator(1))) == {5, 6, 7}
    with pytest.raises(ValueError, match="unbounded"):
        sample_space(gymnasium.spaces.Box(-np.inf, np.inf, (1,)), 1, generator(0))
    with pytest.raises(ConfigError, match="sample_tasks"):
        sample_space(gymnasium.spaces.MultiBinary(3), 1, generator(0))
