"""The single environment of robots."""

from __future__ import annotations

import gymnasium
import mujoco
import numpy as np
import pytest

from envs.locomotion.env import LocomotionEnv
from envs.locomotion.markers import FASTEST
from envs.locomotion.rendering import Rendering
from envs.locomotion.robots.ant import Ant
from envs.locomotion.robots.half_cheetah import HalfCheetah
from envs.locomotion.robots.hopper import Hopper
from envs.locomotion.robots.swimmer import Swimmer
from envs.locomotion.tasks import Direction, Dynamics, GoalPosition, GoalVelocity


def test_one_class_serves_every_robot(robot_id):
    env = gymnasium.make(robot_id).unwrapped
    assert type(env) is LocomotionEnv
    assert env.metadata["render_fps"] == round(1 / env.dt)
    assert env.dt == env.model.opt.timestep * env.frame_skip


def test_an_environment_of_parts_is_the_registered_one():
    ours = LocomotionEnv(HalfCheetah(), GoalVelocity((0.0, 2.0)), Rendering())
    theirs = gymnasium.make("rlmaml/HalfCheetahVel-v0").unwrapped
    np.testing.assert_array_equal(ours.reset(seed=1)[0], theirs.reset(seed=1)[0])
    action = np.full(6, 0.3)
    for a, b in zip(ours.step(action)[:4], theirs.step(action)[:4], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("parameters", [{}, {"include_cfrc_ext_in_observation": True}])
def test_the_single_ant_is_gymnasiums(parameters):
    ours = LocomotionEnv(Ant(contact_cost_weight=5e-4, **parameters), Direction())
    theirs = gymnasium.make(
        "Ant-v5", ctrl_cost_weight=0.005, **{"include_cfrc_ext_in_observation": False, **parameters}
    ).unwrapped
    np.testing.assert_array_equal(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])
    rng = np.random.default_rng(0)
    for _ in range(100):
        action = rng.uniform(-1, 1, 8)
        observation, _, terminated, _, info = ours.step(action)
        expected, _, ended, _, details = theirs.step(action)
        np.testing.assert_array_equal(observation, expected)
        assert terminated == ended
        assert info["x_velocity"] == details["x_velocity"]
        assert info["reward_contact"] == details["reward_contact"]
        if ended:
            break


def test_a_state_can_be_set():
    env = LocomotionEnv(HalfCheetah(), Direction())
    env.reset(seed=0)
    qpos, qvel = np.zeros(9), np.zeros(9)
    qpos[0], qvel[0] = 3.0, 2.0
    env.set_state(qpos, qvel)
    assert env.data.body("torso").xpos[0] == pytest.approx(3.0)
    info = env.step(np.zeros(6))[4]
    assert info["x_velocity"] > 1.0


def test_a_world_is_shown_by_an_arrow_forward():
    env = LocomotionEnv(Hopper(), Dynamics())
    env.set_task(env.sample_tasks(1, np.random.default_rng(0))[0])
    env.reset(seed=0)
    (arrow,) = env.markers()
    assert arrow["type"] == mujoco.mjtGeom.mjGEOM_ARROW
    np.testing.assert_array_equal(arrow["mat"].reshape(3, 3)[:, 2], [1, 0, 0])


def test_a_slow_familys_fastest_goal_is_a_long_arrow():
    env = LocomotionEnv(Swimmer(), GoalVelocity((0.1, 0.2)))
    env.set_task(np.array([0.2]))
    env.reset(seed=0)
    assert env.markers()[0]["size"][2] == pytest.approx(2 * FASTEST)


def test_the_velocity_has_both_coordinates():
    env = LocomotionEnv(Swimmer(), GoalVelocity((0.1, 0.2)))
    env.reset(seed=0)
    info = env.step(np.ones(2))[4]
    velocity = np.array([info["x_velocity"], info["y_velocity"]])
    assert abs(velocity[1]) > 0.01
    along = env.markers()[1]["mat"].reshape(3, 3)[:2, 2]
    np.testing.assert_allclose(along, velocity / np.linalg.norm(velocity), rtol=1e-12)


def test_cameras_are_the_robots_own_but_for_positions():
    assert LocomotionEnv(Ant(), Direction()).camera == Ant.camera
    near, far, tiny = (
        LocomotionEnv(Ant(), GoalPosition(radius)).camera for radius in (3.0, 6.0, 0.1)
    )
    assert Ant.camera["distance"] < near["distance"] < far["distance"]
    assert tiny["distance"] == Ant.camera["distance"]
