"""A point that moves as it is told."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest


def test_the_straight_way_reaches_the_goal():
    vector = gymnasium.make_vec("rlmaml/Navigation2D-v0", num_envs=50, autoreset_mode="Disabled")
    goals = vector.sample_tasks(50, np.random.default_rng(0))
    positions, _ = vector.reset(seed=0, options={"tasks": goals})
    np.testing.assert_array_equal(positions, 0.0)
    for _ in range(6):
        positions, _, terminations, _, _ = vector.step(goals - positions)
    assert terminations.all()
    np.testing.assert_allclose(positions, goals, atol=0.01)


def test_a_point_moves_by_a_clipped_action():
    env = gymnasium.make("rlmaml/Navigation2D-v0", disable_env_checker=True)
    env.reset(options={"task": np.array([0.1, 0.5])})
    position, reward, terminated, truncated, info = env.step(np.array([5.0, -0.05]))
    np.testing.assert_allclose(position, [0.1, -0.05])
    assert reward == pytest.approx(-0.55)
    assert info["distance"] == pytest.approx(0.55)
    assert not terminated
    assert not truncated
