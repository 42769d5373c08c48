"""The table of environments, and how keyword arguments find what takes them."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest


def test_every_registered_id_is_tested(env_ids):
    registered = {name for name in gymnasium.registry if name.startswith("rlmaml/")}
    assert registered == set(env_ids)


def test_parameters_reach_the_environments():
    parameters = {"goal_range": (0.0, 1.0), "test_goal_range": ((2.0, 3.0),), "frame_skip": 1}
    env = gymnasium.make("rlmaml/HalfCheetahVel-v0", **parameters)
    vector = gymnasium.make_vec("rlmaml/HalfCheetahVel-v0", num_envs=2, **parameters)
    for family in (env.unwrapped, vector):
        assert family.task_space.high == 3.0
        assert family.sample_tasks(9, np.random.default_rng(0), split="test").min() >= 2.0
    assert env.unwrapped.dt == 0.01
    env.unwrapped.set_task([2.5])
    assert env.unwrapped.task == 2.5


def test_a_batch_does_not_render():
    with pytest.raises(TypeError, match="render_mode"):
        gymnasium.make_vec("rlmaml/AntDir-v0", num_envs=2, render_mode="rgb_array")


def test_images_and_texts_need_their_root():
    with pytest.raises(ValueError, match="pass root="):
        gymnasium.make("rlmaml/ImageFolder-v0")
    with pytest.raises(ValueError, match="pass root="):
        gymnasium.make("rlmaml/Text-v0")
