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


@pytest.mark.parametrize("dense", [False, True])
def test_sparse_navigation_stays_until_the_time_limit(dense):
    vector = gymnasium.make_vec(
        "rlmaml/SparseNavigation2D-v0",
        num_envs=2,
        autoreset_mode="Disabled",
        dense=dense,
        goal_radius=0.5,
    )
    tasks = np.array([[0.0], [np.pi / 2]])
    vector.reset(seed=0, options={"tasks": tasks})
    for step in range(1, 21):
        # To the right by 0.125, clipped to 0.1, for ten steps: at the first goal, and no nearer
        # than 1 to the second.
        observations, rewards, terminations, truncations, info = vector.step(
            np.array([[0.125 if step <= 10 else 0.0, 0.0]] * 2)
        )
        x = min(step, 10) / 10
        np.testing.assert_allclose(observations, [[x, 0.0]] * 2)
        distances = [1 - x, np.hypot(x, 1.0)]
        np.testing.assert_allclose(info["distance"], distances, atol=1e-12)
        if step != 5:  # sums of tenths may round to either side of the edge
            sparse = [x if step > 5 else 0.0, 0.0]
            np.testing.assert_allclose(info["sparse_reward"], sparse)
            expected = [-d for d in distances] if dense else sparse
            np.testing.assert_allclose(rewards, expected, atol=1e-12)
        assert not terminations.any()
        assert truncations.all() == truncations.any() == (step == 20)
