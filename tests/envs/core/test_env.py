"""Single environments, which are vector environments of one."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from envs.core.env import SingleEnv


def single(env_id, **parameters):
    return gymnasium.make(env_id, **parameters).unwrapped


def test_whatever_has_a_vector_environment_is_one_of_one(env_id):
    env = single(env_id)
    assert isinstance(env, SingleEnv)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(env.action_space.sample())
    env.reset(seed=4)
    info = env.step(env.action_space.sample())[4]
    assert type(info["diverged"]) is bool
    assert not any(name.startswith("_") for name in info)


def test_a_finished_episode_stays_as_it_ended():
    env = single("rlmaml/Navigation2D-v0")
    env.reset(options={"task": np.array([0.1, 0.1])})
    position, reward, terminated, _, _ = env.step([0.1, 0.1])
    assert terminated
    assert reward == 0.0
    again, reward, terminated, _, _ = env.step([-0.1, -0.1])
    np.testing.assert_array_equal(again, position)
    assert terminated
    assert reward == 0.0
    assert not env.reset()[0].any()
    assert not env.step([-0.1, -0.1])[2]


def test_chance_comes_from_the_environments_own_generator():
    env = single("rlmaml/TabularMDP-v0")
    env.reset(seed=3)
    before = env.np_random.bit_generator.state
    env.step(0)
    assert env.np_random.bit_generator.state != before
    env.np_random = np.random.default_rng(8)
    env.reset()
    rewards = [env.step(0)[1] for _ in range(5)]
    env.np_random = np.random.default_rng(8)
    env.reset()
    assert [env.step(0)[1] for _ in range(5)] == rewards


def test_a_task_set_in_the_middle_of_an_episode_counts_from_the_next_step_on():
    env = single("rlmaml/Navigation2D-v0")
    env.reset(seed=0)
    env.set_task([0.3, 0.4])
    *_, info = env.step([0.0, 0.0])
    assert info["distance"] == pytest.approx(0.5)
    np.testing.assert_array_equal(info["task"], [0.3, 0.4])
