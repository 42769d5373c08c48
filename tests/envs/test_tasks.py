"""Task families and rewards, against numbers worked out by hand."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from envs.locomotion.robots.ant import Ant
from envs.locomotion.robots.base import Motion, State
from envs.locomotion.robots.half_cheetah import HalfCheetah
from envs.locomotion.step import judge
from envs.locomotion.tasks import Direction, GoalVelocity
from envs.navigation.tasks import GoalPoint


def moving(x_velocities):
    """Robots that run along x."""
    velocity = np.stack([x_velocities, np.full(len(x_velocities), 9.0)], axis=1)
    return Motion(np.full_like(velocity, 7.0), velocity)


def test_goal_velocity_pays_for_being_near():
    family = GoalVelocity((0.0, 2.0))
    tasks = np.array([[1.5], [0.5], [2.0]])
    paid = family.reward(tasks, moving([1.0, 1.0, -1.0]))
    np.testing.assert_array_equal(paid, [-0.5, -0.5, -3.0])


def test_direction_pays_velocity_forward_or_backward():
    paid = Direction().reward(np.array([0, 1]), moving([2.0, 2.0]))
    np.testing.assert_array_equal(paid, [2.0, -2.0])


def test_goal_point_pays_minus_the_distance():
    paid = GoalPoint().reward(np.array([[0.3, 0.4]]), np.array([[0.0, 0.0]]))
    assert paid == pytest.approx([-0.5])


def judged(robot, family, task, velocity, action, height=0.5, forces=0.0, diverged=False):
    nq = 15
    qpos = np.zeros((1, nq))
    qpos[0, 2] = height
    state = State(
        qpos,
        qvel=np.zeros((1, 14)),
        body_positions=np.zeros((1, 2, 3)),
        contact_forces=np.full((1, 2, 6), forces),
        sensors=np.zeros((1, 0)),
    )
    return judge(
        robot,
        family,
        np.array([task]),
        np.array([action]),
        motion=moving([velocity]),
        state=state,
        diverged=np.array([diverged]),
        before=np.full((1, nq + 14 - robot.hidden), -5.0),
    )


def test_half_cheetah_reward():
    outcome = judged(HalfCheetah(), GoalVelocity((0, 2)), [1.0], 1.25, [1.0, -2.0])
    assert outcome.rewards == pytest.approx([-0.25 - 0.05 * 5.0])
    assert not outcome.terminations[0]
    assert set(outcome.details) == {"x_velocity", "reward_forward", "reward_ctrl"}


def test_ant_reward_and_fall():
    robot = Ant(survival_bonus=1.05, contact_cost_weight=0.5)
    outcome = judged(robot, GoalVelocity((0, 3)), [3.0], 1.0, [2.0, 0.0], 0.1, forces=-7.0)
    # The bonus is paid in the step of the fall too; twelve forces are clipped to -1.
    assert outcome.rewards == pytest.approx([-2.0 - 0.005 * 4.0 + 1.05 - 0.5 * 12])
    assert outcome.terminations[0]
    parts = [value for key, value in outcome.details.items() if key.startswith("reward_")]
    assert sum(parts) == pytest.approx(outcome.rewards)
    for height, fallen in [(0.2, False), (1.0, False), (1.01, True), (0.19, True), (np.nan, True)]:
        assert judged(Ant(), Direction(), 0, 1.0, [0.0], height).terminations[0] == fallen


def test_splits_of_goal_velocity():
    rng = np.random.default_rng(0)
    family = GoalVelocity(((0.0, 0.8), (1.2, 2.0)), (0.8, 1.2))
    train, test = family.sample(2000, rng), family.sample(2000, rng, "test")
    assert family.space.low == 0.0
    assert family.space.high == 2.0
    assert not ((train > 0.8) & (train < 1.2)).any()
    validation = family.sample(2000, rng, "validation")  # nothing is held out for it
    assert not ((validation > 0.8) & (validation < 1.2)).any()
    assert ((test >= 0.8) & (test <= 1.2)).all()
    assert np.mean(train < 1.0) == pytest.approx(0.5, abs=0.05)
    assert train.max() > 1.95
    assert train.min() < 0.05

    extrapolation = GoalVelocity((0.0, 2.0), (2.0, 3.0))
    assert extrapolation.space.high == 3.0
    assert extrapolation.sample(100, rng, "test").min() >= 2.0
    same = GoalVelocity((0.5, 0.5))
    assert (same.sample(5, rng, "test") == 0.5).all()


@pytest.mark.parametrize("bad", [(2.0, 0.0), (0.0, np.inf), (1.0,), ((0, 1), (1, 2, 3)), 1.0])
def test_bad_goal_ranges_are_refused(bad):
    with pytest.raises(ValueError):
        GoalVelocity(bad)


def test_parameters_reach_the_environments():
    parameters = {"goal_range": (0.0, 1.0), "test_goal_range": ((2.0, 3.0),), "frame_skip": 1}
    env = gymnasium.make("rlmaml/HalfCheetahVel-v0", **parameters)
    vector = gymnasium.make_vec("rlmaml/HalfCheetahVel-v0", num_envs=2, **parameters)
    for family in (env.unwrapped, vector):
        assert family.task_space.high == 3.0
        assert family.sample_tasks(9, np.random.default_rng(0), split="test").min() >= 2.0
    assert env.unwrapped.dt == 0.01
    env.unwrapped.set_task([2.5])
    assert env.unwrapped.task == 2.5


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


def test_balanced_goals_are_one_from_each_part_of_the_range():
    rng = np.random.default_rng(0)
    for family, parts in (
        (GoalVelocity((0.0, 2.0), balanced=True), [(0.0, 2.0)]),
        (GoalVelocity(((0.0, 0.5), (1.5, 2.0)), balanced=True), [(0.0, 0.5), (1.5, 2.0)]),
    ):
        goals = family.sample(8, rng)[:, 0]
        assert not (np.diff(goals) > 0).all()  # in random order
        edges = np.concatenate([np.linspace(*part, 8 // len(parts) + 1) for part in parts])
        edges = np.unique(edges)
        counts = np.histogram(goals, edges)[0]
        inside = [any(a <= m <= b for a, b in parts) for m in (edges[1:] + edges[:-1]) / 2]
        np.testing.assert_array_equal(counts, np.array(inside, int))
    many = np.concatenate(
        [GoalVelocity((0.0, 2.0), balanced=True).sample(3, rng) for _ in range(900)]
    )
    assert np.histogram(many, 4, (0, 2))[0] / len(many) == pytest.approx(0.25, abs=0.03)
