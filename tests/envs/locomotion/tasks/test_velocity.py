"""Goal velocities, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from envs.locomotion.tasks import GoalVelocity
from tests.helpers.robots import moving


def test_goal_velocity_pays_for_being_near():
    family = GoalVelocity((0.0, 2.0))
    tasks = np.array([[1.5], [0.5], [2.0]])
    paid = family.reward(tasks, moving([1.0, 1.0, -1.0]))
    np.testing.assert_array_equal(paid, [-0.5, -0.5, -3.0])


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


def test_the_goal_of_frames_is_a_velocity_along_x():
    goal = GoalVelocity((0.0, 2.0)).goal(np.array([1.5]))
    assert goal.velocity.tolist() == [1.5, 0.0]
    assert goal.direction is goal.position is None
