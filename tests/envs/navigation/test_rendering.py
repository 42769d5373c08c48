"""Frames of navigation, looked at by their pixels."""

from __future__ import annotations

import copy

import gymnasium
import numpy as np
import pytest

from envs.navigation import rendering
from tests.helpers.frames import (
    bluish,
    where,
)


def navigation(task, env_id="Navigation2D", **more):
    env = gymnasium.make(f"envs:rlmaml/{env_id}-v0", render_mode="rgb_array", **more)
    env.unwrapped.set_task(np.array(task))
    env.reset(seed=0)
    return env


@pytest.mark.parametrize(("width", "height"), [(240, 240), (200, 120)])
@pytest.mark.parametrize("goal", [(0.4, 0.3), (-0.5, 0.1)])
def test_navigation_draws_goal_and_point_where_they_are(goal, width, height):
    env = navigation(goal, width=width, height=height)
    env.step(np.array([-0.1, -0.1]))
    position = env.step(np.array([0.05, -0.1]))[0]
    frame = env.render()
    assert frame.shape == (height, width, 3)
    np.testing.assert_allclose(where(frame, rendering.GOAL), goal, atol=0.012)
    np.testing.assert_allclose(where(frame, rendering.POINT), position, atol=0.02)
    scale = min(width, height) / 1.3
    x, y = int(width / 2 - 0.05 * scale), int(height / 2 + 0.05 * scale)  # half a step on its way
    near = frame[y - 1 : y + 2, x - 1 : x + 2].astype(int)
    assert (near[..., 0] - near[..., 2]).max() > 80  # orange


def test_navigations_path_is_that_of_the_episode():
    env = navigation((0.4, 0.3), width=120, height=120)
    first = env.render()
    env.step(np.array([0.1, 0.0]))
    assert not np.array_equal(env.render(), first)
    env.reset()
    np.testing.assert_array_equal(env.render(), first)


def test_navigation_shows_other_episodes_faintly():
    env = navigation((0.4, 0.3))
    env.unwrapped.background_paths = [np.array([[0.0, 0.0], [-0.4, -0.4]])]
    rows, columns = np.nonzero(bluish(env.render()))
    middle = np.array([columns.mean() - 240, 240 - rows.mean()]) * 0.65 / 240
    np.testing.assert_allclose(middle, [-0.2, -0.2], atol=0.03)
    env.unwrapped.background_paths = []
    assert not bluish(env.render()).any()


def test_a_point_that_left_the_picture_is_at_its_edge():
    env = navigation((0.4, 0.3))
    for _ in range(12):
        env.step(np.array([0.1, 0.0]))
    assert where(env.render(), rendering.POINT)[0] > 0.63


def test_sparse_navigation_draws_where_the_goal_counts_and_where_goals_are():
    frame = navigation([0.75 * np.pi], "SparseNavigation2D", width=520, height=520).render()

    def shows(color, angle, radius=1.0):
        """The color is there, or a pixel beside: the plane's ±1.3 are 200 pixels a unit."""
        x, y = 260 + 200 * radius * np.cos(angle), 260 - 200 * radius * np.sin(angle)
        near = frame[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].astype(int)
        return (np.abs(near - color).max(axis=2) < 12).any()

    northwest = 0.75 * np.pi
    twice = 2 * where(frame, rendering.GOAL)  # `where` has a square of ±0.65
    np.testing.assert_allclose(twice, [-(0.5**0.5), 0.5**0.5], atol=0.012)
    for radius in (0.81, 1.19):  # the circle's edge
        assert shows(rendering.GOAL, northwest, radius)
    assert shows(rendering.AREA, northwest, 0.87)
    assert not shows(rendering.AREA, northwest, 0.77)
    for angle in (0.1, 1.0, 2.0, 3.0):
        assert shows(rendering.POSSIBLE, angle)
        assert not shows(rendering.POSSIBLE, angle, 0.9)
        assert not shows(rendering.POSSIBLE, -angle)


def test_navigation_draws_only_where_asked():
    assert gymnasium.make("envs:rlmaml/Navigation2D-v0").unwrapped.render() is None
    with pytest.raises(ValueError, match="'human'; navigation draws 'rgb_array'"):
        gymnasium.make("envs:rlmaml/Navigation2D-v0", render_mode="human")
    with pytest.raises(ValueError, match="0 x 480 pixels"):
        gymnasium.make("envs:rlmaml/Navigation2D-v0", render_mode="rgb_array", width=0)
    copied = copy.deepcopy(navigation((0.1, 0.2), width=40, height=40))
    copied.reset(seed=0)
    assert copied.render().shape == (40, 40, 3)
