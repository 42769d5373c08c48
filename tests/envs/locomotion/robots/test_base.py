"""What every robot has in common."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from envs.locomotion.laws.maml_paper import PaperAnt, PaperHalfCheetah
from envs.locomotion.robots.ant import Ant
from envs.locomotion.robots.base import State
from envs.locomotion.robots.half_cheetah import HalfCheetah
from envs.locomotion.tasks import LocomotionTasks
from envs.locomotion.vector_env import LocomotionVectorEnv

ROBOTS = (HalfCheetah(), Ant(), PaperHalfCheetah(), PaperAnt())


def state_of(x, y):
    positions = np.zeros((2, 14, 3))
    positions[:, 1, 0], positions[:, 1, 1] = x, y
    sensors = np.zeros((2, 18))
    sensors[:, 0], sensors[:, 1], sensors[:, 3], sensors[:, 4] = x, y, 5.0, 6.0
    qpos = np.zeros((2, 15))
    qpos[:, 0] = x
    fields = {"xpos": positions, "xipos": positions, "sensordata": sensors}
    return State(qpos, np.zeros((2, 14)), fields)


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
    assert not np.shares_memory(motion.position, state.fields["xpos"])
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


class Upright(HalfCheetah):
    def reports(self, state):
        return {"height": state.qpos[:, 1]}


class Jump(LocomotionTasks):
    """Be above a height: pays how far above."""

    space = spaces.Box(-1.0, 1.0, (1,), dtype=np.float64)
    default = np.array([0.0])

    def sample(self, n, rng, split="train"):
        return rng.uniform(-1.0, 1.0, size=(n, 1))

    def reward(self, tasks, result):
        return result.reports["height"] - tasks[:, 0]


def test_a_task_may_reward_what_a_robot_reports():
    vector = LocomotionVectorEnv(Upright(), Jump(), 3, num_threads=1)
    tasks = vector.sample_tasks(3, np.random.default_rng(0))
    vector.reset(seed=0, options={"tasks": tasks})
    info = vector.step(np.zeros((3, 6)))[4]
    height = vector.simulation.qpos[:, 1]
    np.testing.assert_array_equal(info["reward_forward"], height - tasks[:, 0])
