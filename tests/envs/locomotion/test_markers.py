"""Arrows that show a task."""

from __future__ import annotations

import math

import mujoco
import numpy as np
import pytest

from envs.locomotion.markers import LONGEST, SCALE, goal_markers


def test_markers():
    torso = np.array([3.0, 0.0, 0.6])
    assert goal_markers(None, 1.0, torso) == ()
    goal, velocity = goal_markers(1.5, -0.5, torso)
    assert goal["size"][2] == pytest.approx(2 * 1.5 * SCALE)
    assert velocity["size"][2] == pytest.approx(2 * 0.5 * SCALE)
    directions = [marker["mat"].reshape(3, 3)[:, 2] for marker in (goal, velocity)]
    np.testing.assert_array_equal(directions, [[1, 0, 0], [-1, 0, 0]])
    for marker in (goal, velocity):
        turn = marker["mat"].reshape(3, 3)
        np.testing.assert_array_equal(turn @ turn.T, np.eye(3))
        assert np.linalg.det(turn) == pytest.approx(1)
        assert marker["pos"][0] == 3.0
    goal, velocity = goal_markers(1.0, 20.0, torso)  # both to a scale at which both are in view
    assert velocity["size"][2] == pytest.approx(2 * LONGEST)
    assert goal["size"][2] == pytest.approx(2 * LONGEST / 20)
    (still, _) = goal_markers(0.0, 0.0, torso)
    assert still["type"] == mujoco.mjtGeom.mjGEOM_SPHERE
    (way,) = goal_markers(-math.inf, 1.0, torso)
    assert way["pos"][0] > 3.0
    np.testing.assert_array_equal(way["mat"].reshape(3, 3)[:, 2], [-1, 0, 0])
