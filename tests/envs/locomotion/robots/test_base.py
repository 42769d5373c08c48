"""What every robot has in common."""

from __future__ import annotations

import numpy as np
import pytest

from envs.locomotion.maml_paper import PaperAnt, PaperHalfCheetah
from envs.locomotion.robots.ant import Ant
from envs.locomotion.robots.base import State
from envs.locomotion.robots.half_cheetah import HalfCheetah

ROBOTS = (HalfCheetah(), Ant(), PaperHalfCheetah(), PaperAnt())


def state_of(x, y):
    positions = np.zeros((2, 14, 3))
    positions[:, 1, 0], positions[:, 1, 1] = x, y
    sensors = np.zeros((2, 18))
    sensors[:, 0], sensors[:, 1], sensors[:, 3], sensors[:, 4] = x, y, 5.0, 6.0
    qpos = np.zeros((2, 15))
    qpos[:, 0] = x
    return State(qpos, np.zeros((2, 14)), positions, np.zeros((2, 14, 6)), sensors)


@pytest.mark.parametrize("robot", ROBOTS, ids=lambda robot: type(robot).__name__)
def test_motion_is_in_x_and_y(robot):
    planar = type(robot) is HalfCheetah
    state = state_of([1.0, 2.0], [3.0, 4.0])
    motion = robot.motion(np.zeros((2, 2)), state, duration=0.5)
    expected = [[1.0, 0.0], [2.0, 0.0]] if planar else [[1.0, 3.0], [2.0, 4.0]]
    np.testing.assert_array_equal(motion.position, expected)
    if type(robot).__name__.startswith("Paper"):  # of the center of mass, now
        np.testing.assert_array_equal(motion.velocity, [[5.0, 6.0]] * 2)
    else:
        np.testing.assert_array_equal(motion.velocity, np.array(expected) / 0.5)
    assert not np.shares_memory(motion.position, state.body_positions)
    assert motion.reports == {}


@pytest.mark.parametrize("robot", ROBOTS, ids=lambda robot: type(robot).__name__)
def test_a_robot_has_what_drawing_needs(robot):
    model = robot.model()
    assert model.body(robot.torso).id == 1
    assert {"distance", "azimuth", "elevation"} <= set(robot.camera)
    qpos, qvel = robot.start(model)
    assert (len(qpos), len(qvel)) == (model.nq, model.nv)


def test_a_step_is_at_least_one_simulator_step():
    with pytest.raises(ValueError, match="frame_skip is 0"):
        HalfCheetah(frame_skip=0)
