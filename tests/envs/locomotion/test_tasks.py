"""Task families of robots, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from envs.locomotion.env import LocomotionEnv
from envs.locomotion.robots.ant import Ant
from envs.locomotion.tasks import Direction, GoalVelocity, LocomotionTasks
from envs.locomotion.vector_env import LocomotionVectorEnv
from tests.helpers.robots import moving


def test_goal_velocity_pays_for_being_near():
    family = GoalVelocity((0.0, 2.0))
    tasks = np.array([[1.5], [0.5], [2.0]])
    paid = family.reward(tasks, moving([1.0, 1.0, -1.0]))
    np.testing.assert_array_equal(paid, [-0.5, -0.5, -3.0])


def test_direction_pays_velocity_forward_or_backward():
    paid = Direction().reward(np.array([0, 1]), moving([2.0, 2.0]))
    np.testing.assert_array_equal(paid, [2.0, -2.0])


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


def test_balanced_directions_come_in_random_order():
    rng = np.random.default_rng(0)
    batches = {tuple(Direction().sample(4, rng).tolist()) for _ in range(200)}
    assert len(batches) == 6  # all orders of two forward and two backward
    assert all(sum(batch) == 2 for batch in batches)


def test_the_odd_balanced_direction_is_a_coin():
    rng = np.random.default_rng(0)
    backward = np.array([Direction().sample(5, rng).sum() for _ in range(400)])
    assert set(backward.tolist()) == {2, 3}
    assert np.mean(backward == 3) == pytest.approx(0.5, abs=0.1)
    first = [Direction().sample(1, rng)[0] for _ in range(400)]
    assert np.mean(first) == pytest.approx(0.5, abs=0.1)


class GoalPosition(LocomotionTasks):
    """Come to a place: pays minus the distance in x and in y."""

    space = spaces.Box(-3.0, 3.0, (2,), dtype=np.float64)
    default = np.array([1.0, 0.0])

    def sample(self, n, rng, split="train"):
        return rng.uniform(-3.0, 3.0, size=(n, 2))

    def reward(self, tasks, result):
        return -np.abs(result.position - tasks).sum(axis=1)


class Heading(LocomotionTasks):
    """Run in a direction of the plane, an angle: pays the velocity along it."""

    space = spaces.Box(-np.pi, np.pi, (1,), dtype=np.float64)
    default = np.array([0.5])

    def sample(self, n, rng, split="train"):
        return rng.uniform(-np.pi, np.pi, size=(n, 1))

    def reward(self, tasks, result):
        direction = np.concatenate([np.cos(tasks), np.sin(tasks)], axis=1)
        return (result.velocity * direction).sum(axis=1)


def by_hand(name, data, before, task, dt):
    """What the two families pay for the simulation's own numbers."""
    after = data.xpos[1, :2]
    if name == "position":
        return -np.abs(after - task).sum()
    return (after - before) / dt @ [np.cos(task[0]), np.sin(task[0])]


@pytest.mark.parametrize(("name", "family"), [("position", GoalPosition), ("heading", Heading)])
def test_a_reward_may_look_at_more_than_the_velocity_along_x(name, family):
    """No robot knows of these tasks; one environment and many of them pay the same."""
    env = LocomotionEnv(Ant(), family())
    vector = LocomotionVectorEnv(Ant(), family(), 3, num_threads=1, max_episode_steps=None)
    tasks = vector.sample_tasks(3, np.random.default_rng(0))
    vector.reset(seed=5, options={"tasks": tasks})
    env.reset(seed=6, options={"task": tasks[1]})
    rng = np.random.default_rng(1)
    for _ in range(20):
        actions = rng.uniform(-1, 1, (3, 8))
        before = env.data.xpos[1, :2].copy()
        info = env.step(actions[1])[4]
        expected = by_hand(name, env.data, before, tasks[1], env.dt)
        assert info["reward_forward"] == pytest.approx(expected, rel=1e-12)
        assert vector.step(actions)[4]["reward_forward"][1] == info["reward_forward"]
    assert env.markers() == ()  # they ask for no velocity along x


def test_goal_velocities_for_frames():
    assert GoalVelocity((0.0, 2.0)).goal_velocity(np.array([1.5])) == 1.5
    assert [Direction().goal_velocity(np.array(task)) for task in (0, 1)] == [np.inf, -np.inf]
