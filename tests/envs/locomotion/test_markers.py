"""Arrows and disks that show a task."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from envs.locomotion.markers import DIRECTION, FASTEST, LONGEST, SCALE, arrow, disk, goal_markers
from envs.locomotion.tasks.base import Goal

TORSO = np.array([3.0, -1.0, 0.6])
GREEN = (0.0, 1.0, 0.0, 1.0)


def shown(goal, velocity=(0.0, 0.0), **more):
    vectors = {name: np.array(vector) for name, vector in goal.items()}
    return goal_markers(Goal(**vectors), np.array(velocity), TORSO, **more)


def turn(marker):
    return marker["mat"].reshape(3, 3)


def lengths(markers):
    return [marker["size"][2] / 2 for marker in markers]


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 2, 2.2, np.pi, -0.7])
def test_an_arrow_points_along_any_angle(angle):
    along = 0.7 * np.array([np.cos(angle), np.sin(angle)])
    made = arrow(TORSO, along, GREEN)
    assert made["type"] == mujoco.mjtGeom.mjGEOM_ARROW
    np.testing.assert_allclose(turn(made)[:, 2], [*along / 0.7, 0.0], atol=1e-15)
    np.testing.assert_allclose(turn(made) @ turn(made).T, np.eye(3), atol=1e-15)
    assert np.linalg.det(turn(made)) == pytest.approx(1)
    np.testing.assert_array_equal(made["pos"], TORSO)
    assert lengths([made]) == pytest.approx([0.7])


def test_an_arrow_without_a_length_is_a_ball():
    assert arrow(TORSO, np.zeros(2), GREEN)["type"] == mujoco.mjtGeom.mjGEOM_SPHERE


def test_a_goal_velocity_is_beside_the_robots_own():
    markers = goal, velocity = shown({"velocity": [1.5, 0.0]}, [-0.3, 0.4])
    assert lengths(markers) == pytest.approx([1.5 * SCALE, 0.5 * SCALE])
    np.testing.assert_allclose(turn(goal)[:, 2], [1, 0, 0])
    np.testing.assert_allclose(turn(velocity)[:, 2], [-0.6, 0.8, 0])
    for marker in markers:
        np.testing.assert_array_equal(marker["pos"][:2], TORSO[:2])
        assert marker["pos"][2] > TORSO[2]
    assert goal["pos"][2] > velocity["pos"][2]


def test_both_are_drawn_to_a_scale_at_which_both_are_in_view():
    markers = shown({"velocity": [1.0, 0.0]}, [12.0, 16.0])
    assert lengths(markers) == pytest.approx([LONGEST / 20, LONGEST])


@pytest.mark.parametrize(("fastest", "scale"), [(0.0, SCALE), (0.2, FASTEST / 0.2), (3.0, SCALE)])
def test_slow_families_are_drawn_to_a_larger_scale(fastest, scale):
    markers = shown({"velocity": [0.1, 0.0]}, [0.2, 0.0], fastest=fastest)
    assert lengths(markers) == pytest.approx([0.1 * scale, 0.2 * scale])


def test_a_direction_is_one_arrow_across_the_torso():
    way = np.array([-0.6, 0.8])
    (made,) = shown({"direction": way}, [5.0, 0.0])
    assert lengths([made]) == pytest.approx([DIRECTION])
    np.testing.assert_allclose(turn(made)[:, 2], [*way, 0])
    np.testing.assert_allclose(made["pos"][:2] + DIRECTION / 2 * way, TORSO[:2])


def test_a_position_is_a_disk_on_the_ground():
    (made,) = shown({"position": [2.0, -1.5]})
    np.testing.assert_array_equal(made["pos"][:2], [2.0, -1.5])
    np.testing.assert_array_equal(turn(made), np.eye(3))
    geom = mujoco.MjvGeom()
    mujoco.mjv_initGeom(geom, **{**made, "rgba": made["rgba"].astype(np.float32)})
    radius, other, half_height = geom.size  # as it is drawn
    assert radius == other
    assert half_height < 0.1 * radius
    assert made["pos"][2] == pytest.approx(half_height)
    assert disk(np.zeros(2), GREEN)["rgba"].tolist() == list(GREEN)


def test_no_goal_shows_nothing():
    assert shown({}) == ()
