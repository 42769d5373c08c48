"""Simulations that blow up or are left alone, one and many, and a simulator of another make."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from envs.locomotion.laws.maml_paper import PaperAnt, PaperHalfCheetah
from envs.locomotion.robots.ant import Ant
from envs.locomotion.robots.base import State
from envs.locomotion.robots.half_cheetah import HalfCheetah
from envs.locomotion.simulation import MuJoCoBatch, MuJoCoData
from tests.helpers.vector_actions import random_actions

CHEETAH = "rlmaml/HalfCheetahVel-v0"


def make(env_id=CHEETAH, num_envs=4, **parameters):
    return gymnasium.make_vec(env_id, num_envs=num_envs, num_threads=2, **parameters)


def actions_for(vector, seed=0):
    return random_actions(vector, np.random.default_rng(seed), 0.1)


def test_an_ant_that_fell_is_left_alone():
    vector = make("rlmaml/AntDir-v0", num_envs=3, autoreset_mode="Disabled")
    vector.reset(seed=0)
    vector.simulation.qpos[1, 2] = 1.5  # above 1 m
    actions = actions_for(vector)
    _, rewards, terminations, truncations, _ = vector.step(actions)
    np.testing.assert_array_equal(terminations, [False, True, False])
    assert not truncations.any()
    assert rewards[1] != 0.0
    state = vector.simulation.batch.state[1].copy()
    for _ in range(3):
        _, rewards, terminations, _, _ = vector.step(actions)
        assert terminations[1]
        assert rewards[1] == 0.0
        assert rewards[0] != 0.0
    np.testing.assert_array_equal(vector.simulation.batch.state[1], state)


@pytest.mark.parametrize("broken", [1e11, np.nan, np.inf])  # the limit is 1e10
@pytest.mark.parametrize("field", ["qpos", "qvel"])
@pytest.mark.parametrize("env_id", [CHEETAH, "rlmaml/AntDir-v0"])
def test_divergence_is_flagged_and_contained(env_id, field, broken):
    vector, control = (make(env_id, autoreset_mode="Disabled") for _ in range(2))
    vector.reset(seed=0)
    control.reset(seed=0)
    actions = actions_for(vector)
    before = vector.step(actions)[0]
    control.step(actions)
    getattr(vector.simulation, field)[2, 2] = broken
    observations, rewards, terminations, truncations, info = vector.step(actions)
    expected = control.step(actions)
    np.testing.assert_array_equal(info["diverged"], [False, False, True, False])
    np.testing.assert_array_equal(truncations, info["diverged"])
    assert not terminations.any()
    np.testing.assert_array_equal(observations[2], before[2])
    assert rewards[2] == 0.0
    assert info["x_velocity"][2] == 0.0
    others = [0, 1, 3]
    np.testing.assert_array_equal(observations[others], expected[0][others])
    np.testing.assert_array_equal(rewards[others], expected[1][others])
    # Left alone, and flagged, until it is reset.
    assert vector.step(actions)[4]["diverged"][2]
    vector.reset(seed=0, options={"reset_mask": info["diverged"]})
    step = vector.step(actions)
    assert not step[4]["diverged"].any()
    np.testing.assert_array_equal(step[0][2], before[2])


def test_divergence_with_autoreset():
    vector = make()
    vector.reset(seed=0)
    actions = actions_for(vector)
    before = vector.step(actions)[0]
    vector.simulation.qvel[2, 2] = np.nan
    observations, _, _, truncations, info = vector.step(actions)
    assert truncations.tolist() == info["diverged"].tolist() == [False, False, True, False]
    np.testing.assert_array_equal(info["final_obs"][2], before[2])
    assert info["final_obs"][0] is None
    assert (observations[2] != before[2]).any()
    assert not vector.step(actions)[4]["diverged"].any()


def test_divergence_of_a_single_environment():
    env = gymnasium.make(CHEETAH)
    env.reset(seed=0)
    before = env.step(np.zeros(6))[0]
    env.unwrapped.data.qvel[2] = 1e9
    observation, reward, terminated, truncated, info = env.step(np.zeros(6))
    assert truncated
    assert not terminated
    assert info["diverged"]
    assert reward == info["x_velocity"] == 0.0
    np.testing.assert_array_equal(observation, before)
    env.reset(seed=0)
    np.testing.assert_array_equal(env.step(np.zeros(6))[0], before)


class Sliders:
    """A simulator of another make: whatever the robot is, its root slides as it is pushed."""

    def __init__(self, robot, num_envs, num_threads):
        self.model = robot.model()
        self._qpos = np.zeros((num_envs, self.model.nq))
        self._qvel = np.zeros((num_envs, self.model.nv))
        self._dt = self.model.opt.timestep * robot.frame_skip
        self._lost = np.zeros(num_envs, dtype=np.bool_)

    def reset(self, ids, qpos, qvel):
        self._qpos[ids], self._qvel[ids], self._lost[ids] = qpos, qvel, False

    def step(self, rows, controls):
        self._qvel[rows, 0] = controls[:, 0]
        self._qpos[rows, 0] += self._dt * controls[:, 0]
        self._lost[rows] = controls[:, 1] > 0.9

    def state(self, rows):
        return State(self._qpos[rows], self._qvel[rows])

    def diverged(self, rows):
        return self._lost[rows]


def test_another_simulator_is_one_class():
    env = gymnasium.make_vec(
        "rlmaml/HalfCheetahDir-v0", num_envs=3, simulate=Sliders, autoreset_mode="Disabled"
    )
    env.set_tasks([0, 1, 0])
    first, _ = env.reset(seed=0)
    with_mujoco = make("rlmaml/HalfCheetahDir-v0", num_envs=3)
    np.testing.assert_array_equal(first, with_mujoco.reset(seed=0)[0])
    actions = np.zeros((3, 6))
    actions[:, 0] = 0.5
    actions[2, 1] = 1.0
    observations, rewards, _, truncations, info = env.step(actions)
    np.testing.assert_allclose(info["x_velocity"], [0.5, 0.5, 0.0])
    np.testing.assert_allclose(rewards, [0.5 - 0.0125, -0.5 - 0.0125, 0.0])
    assert truncations.tolist() == info["diverged"].tolist() == [False, False, True]
    np.testing.assert_array_equal(observations[2], first[2])


@pytest.mark.parametrize(
    "robot",
    [
        HalfCheetah(),
        Ant(contact_cost_weight=5e-4, include_cfrc_ext_in_observation=True),
        PaperHalfCheetah(),
        PaperAnt(),
    ],
    ids=lambda robot: type(robot).__name__,
)
def test_one_simulation_in_an_mjdata_is_one_of_a_batch(robot):
    one, batch = MuJoCoData(robot), MuJoCoBatch(robot, 3, 2)
    start = robot.start(one.model)
    firsts = [robot.first_state(np.random.default_rng(i), *start) for i in range(3)]
    qpos, qvel = map(np.stack, zip(*firsts, strict=True))
    batch.reset(np.arange(3), qpos, qvel)
    one.reset(np.arange(1), qpos[1:2], qvel[1:2])
    rng = np.random.default_rng(0)
    for _ in range(30):
        controls = rng.uniform(-1, 1, (3, one.model.nu))
        one.step(slice(None), controls[1:2])
        batch.step(slice(None), controls)
        a, b = robot.observation(one.state(slice(None))), robot.observation(batch.state([1]))
        np.testing.assert_array_equal(a, b)
        assert not one.diverged(slice(None)).any()
    none = np.zeros(0, dtype=np.intp)
    one.step(none, np.zeros((0, one.model.nu)))
    assert len(one.state(none).qpos) == 0
    with pytest.raises(ValueError, match="num_envs is 2"):
        MuJoCoData(robot, 2)
