"""Laws of papers: rewards, observations and ends worked out by hand from a given state.

Numbers are those of the authors' files (docs/families.md names them), written out here.
"""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

import envs  # noqa: F401  registers the environments
from envs.locomotion.robots.base import Motion, State
from envs.registry import LAWS, find


def parts(name):
    """Robot and task family of an id, as the environment has them."""
    env = gymnasium.make(f"rlmaml/{name}-v0").unwrapped
    return env._robot, env._robot_tasks


def state_of(robot, model, qpos, qvel=None, **fields):
    """A state with these leading positions and velocities, and everything else 0."""
    full, speeds = np.zeros((1, model.nq)), np.zeros((1, model.nv))
    full[0, : len(qpos)] = qpos
    if qvel is not None:
        speeds[0] = qvel
    sizes = {
        "xpos": (model.nbody, 3),
        "xipos": (model.nbody, 3),
        "cinert": (model.nbody, 10),
        "cvel": (model.nbody, 6),
        "qfrc_actuator": (model.nv,),
        "cfrc_ext": (model.nbody, 6),
    }
    every = {key: np.zeros((1, *sizes[key])) for key in robot.reads} | fields
    return State(full, speeds, every)


def reward_of(robot, family, task, velocity, action, state, position=(0.0, 0.0)):
    """Reward of a step that ends in `state` with a velocity, in x and y."""
    motion = Motion(np.array([position]), np.array([velocity]))
    tasks = np.asarray([task])
    total = family.reward(tasks, motion)
    for part in robot.rewards(np.array([action]), state).values():
        total = total + part
    return float(total[0])


HALF = [0.5, 1.0]  # two torques, squares sum to 1.25
SIZES = {  # id: qpos entries that are set, task, velocity, reward, observed numbers
    "ProMPHalfCheetahVel": ([0.0, 0.0], [2.0], (0.5, 0.0), -1.5 - 0.05 * 1.25, 17),
    "PEARLHalfCheetahVel": ([0.0, 0.0], [2.0], (0.5, 0.0), -1.5 - 0.05 * 1.25, 20),
    "ProMPHalfCheetahDir": ([0.0, 0.0], 1, (0.5, 0.0), -0.5 - 0.05 * 1.25, 17),
    "PEARLHalfCheetahDir": ([0.0, 0.0], 0, (0.5, 0.0), 0.5 - 0.05 * 1.25, 20),
    # 14 bodies x 6 forces of 2, clipped to 1: a contact cost of 5e-4 x 84.
    "ProMPAntDir": ([0, 0, 0.5], 1, (0.5, 9.0), -0.5 - 0.5 * 1.25 - 5e-4 * 84 + 1, 111),
    "ProMPAntDir2D": (
        [0, 0, 0.5],
        [0.6, 0.8],
        (0.5, 1.0),
        0.6 * 0.5 + 0.8 * 1.0 - 0.5 * 1.25 - 5e-4 * 84 + 1,
        111,
    ),
    "PEARLAntDir": (
        [0, 0, 0.5],
        [0.6, 0.8],
        (0.5, 1.0),
        0.6 * 0.5 + 0.8 * 1.0 - 0.5 * 1.25 - 5e-4 * 84 + 1,
        27,
    ),
    # At (1, -1), the goal at (2, 0.5): 1 + 1.5 away.
    "ProMPAntGoal": ([0, 0, 0.5], [2.0, 0.5], (9, 9), -2.5 - 0.1 * 1.25 - 5e-4 * 84, 113),
    "ProMPWalker2dVel": ([0.0, 1.0], [4.0], (1.5, 0.0), -2.5 + 15 - 1e-3 * 1.25, 17),
    "ProMPWalker2dDir": ([0.0, 1.0], 1, (1.5, 0.0), -1.5 + 1 - 1e-3 * 1.25, 17),
    # Σf² = 84 x 4; the way over 5 simulator steps by the time of one, a quarter of it: 1.25 v.
    "ProMPHumanoidDir": (
        [0, 0, 1.4],
        1,
        (2.0, 9.0),
        -1.25 * 2.0 - 0.1 * 1.25 - 5e-7 * 336 + 5,
        376,
    ),
    "ProMPHumanoidDir2D": (
        [0, 0, 1.4],
        [0.6, 0.8],
        (2.0, 1.0),
        1.25 * (0.6 * 2.0 + 0.8) - 0.1 * 1.25 - 5e-7 * 336 + 5,
        376,
    ),
    # The source pays the distance: a slip, mended here.
    "ProMPSwimmerVel": ([0.0, 0.0], [0.15], (0.05, 0.0), -0.1 - 1e-4 * 1.25, 8),
    "RandParamsHopper": ([0.0, 1.25], None, (1.5, 0.0), 1.5 + 1 - 1e-3 * 1.25, 11),
    "RandParamsWalker2d": ([0.0, 1.25], None, (1.5, 0.0), 1.5 + 1 - 1e-3 * 1.25, 17),
}


def test_every_law_is_here():
    assert {f"rlmaml/{name}-v0" for name in SIZES} == {row.id for row in LAWS}


@pytest.mark.parametrize("name", SIZES)
def test_reward_and_observation(name):
    qpos, task, velocity, expected, size = SIZES[name]
    robot, family = parts(name)
    model = robot.model()
    forces = {}
    if "cfrc_ext" in robot.reads:
        forces = {"cfrc_ext": np.full((1, model.nbody, 6), 2.0)}
    state = state_of(robot, model, qpos, **forces)
    action = np.zeros(model.nu)
    action[:2] = HALF
    given = family.default if task is None else task
    made = reward_of(robot, family, given, velocity, action, state, position=(1.0, -1.0))
    assert made == pytest.approx(expected, rel=1e-12)
    assert robot.observation(state).shape == (1, size)
    assert not robot.ended(state)[0]


def test_what_a_cheetah_of_pearls_sees_last_is_its_torso():
    robot, _ = parts("PEARLHalfCheetahDir")
    torso = np.zeros((1, 8, 3))
    torso[0, 1] = [1.0, 2.0, 3.0]
    state = state_of(robot, robot.model(), [7.0, 0.5], xpos=torso)
    assert robot.observation(state)[0, [0, -3, -2, -1]].tolist() == [0.5, 1.0, 2.0, 3.0]


def test_ants_of_promps_see_all_forces_clipped_and_the_goals_one_where_it_is():
    robot, _ = parts("ProMPAntGoal")
    forces = np.zeros((1, 14, 6))
    forces[0, 0, 0], forces[0, 13, 5] = -5.0, 0.25
    seen = robot.observation(state_of(robot, robot.model(), [3.0, 4.0, 0.5], cfrc_ext=forces))[0]
    assert seen[:3].tolist() == [3.0, 4.0, 0.5]
    assert (seen[29], seen[-1]) == (-1.0, 0.25)


ENDS = [  # id, leading positions, whether the episode is over
    ("ProMPAntDir", [0, 0, 0.1], False),
    ("ProMPAntDir", [0, 0, -0.01], True),
    ("ProMPAntDir", [0, 0, 1.01], True),
    ("PEARLAntDir", [0, 0, 0.19], True),
    ("PEARLAntDir", [0, 0, 0.2], False),
    ("ProMPAntGoal", [0, 0, -1.0], False),
    ("ProMPWalker2dVel", [0, 0.8], True),
    ("ProMPWalker2dVel", [0, 0.81, 0.99], False),
    ("ProMPWalker2dDir", [0, 1.0, -1.0], True),
    ("ProMPWalker2dDir", [0, 2.0], True),
    ("ProMPHumanoidDir2D", [0, 0, 0.99], True),
    ("ProMPHumanoidDir2D", [0, 0, 2.01], True),
    ("ProMPHumanoidDir2D", [0, 0, 1.0], False),
    ("ProMPHumanoidDir2D", [0, 0, 2.0], False),
    ("RandParamsHopper", [0, 0.7], True),
    ("RandParamsHopper", [0, 0.71, 0.19], False),
    ("RandParamsHopper", [0, 1.0, 0.2], True),
    ("RandParamsHopper", [0, 1.0, 0.0, 100.0], True),
    ("RandParamsWalker2d", [0, 2.0], True),
    ("ProMPHalfCheetahDir", [0, -9.0], False),
    ("ProMPSwimmerVel", [0, -9.0], False),
]


@pytest.mark.parametrize(("name", "qpos", "over"), ENDS)
def test_ends(name, qpos, over):
    robot, _ = parts(name)
    assert bool(robot.ended(state_of(robot, robot.model(), qpos))[0]) is over


@pytest.mark.parametrize(
    ("name", "bonus"),
    [("ProMPWalker2dVel", 15.0), ("ProMPWalker2dDir", 1.0), ("RandParamsHopper", 1.0)],
)
def test_the_step_of_a_fall_pays_for_being_alive(name, bonus):
    robot, _ = parts(name)
    fallen = state_of(robot, robot.model(), [0.0, 0.1])
    assert robot.rewards(np.zeros((1, robot.model().nu)), fallen)["reward_survive"] == bonus


DURATIONS = {  # of an action in seconds, by how the names begin; of an episode in actions
    "ProMPHalfCheetahDir": (0.05, 100),
    "ProMPHalfCheetah": (0.05, 200),
    "PEARL": (0.05, 200),
    "ProMPAnt": (0.05, 200),
    "ProMPWalker2d": (0.016, 200),
    "ProMPHumanoid": (0.015, 200),
    "ProMPSwimmer": (0.04, 200),
    "RandParams": (0.016, 200),
}


@pytest.mark.parametrize("name", SIZES)
def test_time_step_and_horizon(name):
    duration, steps = next(DURATIONS[start] for start in DURATIONS if name.startswith(start))
    assert gymnasium.make(f"rlmaml/{name}-v0").unwrapped.dt == pytest.approx(duration, rel=1e-12)
    assert find(f"rlmaml/{name}-v0").max_episode_steps == steps


GOALS = {
    "ProMPHalfCheetahVel": (0, 3),
    "PEARLHalfCheetahVel": (0, 3),
    "ProMPWalker2dVel": (0, 10),
    "ProMPSwimmerVel": (0.1, 0.2),
}


@pytest.mark.parametrize("name", GOALS)
def test_goal_velocities(name):
    low, high = GOALS[name]
    drawn = parts(name)[1].sample(2000, np.random.default_rng(0))
    assert low <= drawn.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < drawn.max() <= high


@pytest.mark.parametrize("name", ["RandParamsHopper", "RandParamsWalker2d"])
def test_factors_of_worlds(name):
    _, family = parts(name)
    family = family.of(parts(name)[0].model())
    drawn = np.log(family.sample(2000, np.random.default_rng(0)))
    ends = 3 * np.log(1.5), 3 * np.log(1.3)
    for most, column in ((ends[0], 0), (ends[1], -1)):  # masses first, damping last
        assert -most <= drawn[:, column].min() < -0.99 * most
        assert 0.99 * most < drawn[:, column].max() <= most
    assert np.abs(drawn).max() <= ends[0]
