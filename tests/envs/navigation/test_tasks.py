"""Goals on a plane and on a half circle, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from envs.navigation.tasks import GoalAngle, GoalPoint

EAST, NORTH, WEST = [0.0], [np.pi / 2], [np.pi]


def test_goal_point_pays_minus_the_distance():
    paid = GoalPoint().reward(np.array([[0.3, 0.4]]), np.array([[0.0, 0.0]]))
    assert paid == pytest.approx([-0.5])


def test_angles_are_goals_on_the_half_circle():
    goals = GoalAngle().goals(np.array([EAST, NORTH, WEST, [np.pi / 6]]))
    np.testing.assert_allclose(goals, [[1, 0], [0, 1], [-1, 0], [0.75**0.5, 0.5]], atol=1e-15)


@pytest.mark.parametrize(
    ("angle", "position", "distance", "paid"),
    [
        (EAST, (1.0, 0.0), 0.0, 1.0),
        (EAST, (0.9, 0.0), 0.1, 0.9),
        (EAST, (1.0, 0.2), 0.2, 0.8),  # the edge is within
        (EAST, (1.0, 0.2 + 1e-9), 0.2, 0.0),
        (EAST, (0.0, 0.0), 1.0, 0.0),
        (NORTH, (0.06, 0.92), 0.1, 0.9),
        (WEST, (0.2, -0.9), 1.5, 0.0),
    ],
)
def test_goal_angle_pays_near_the_goal_alone(angle, position, distance, paid):
    tasks, positions = np.array([angle]), np.array([position])
    assert GoalAngle().reward(tasks, positions) == pytest.approx([paid])
    assert GoalAngle(dense=True).reward(tasks, positions) == pytest.approx([-distance])
    for family in (GoalAngle(), GoalAngle(dense=True)):
        details = family.details(tasks, positions)
        assert set(details) == set(family.diagnostics)
        assert details["distance"] == pytest.approx([distance])
        assert details["sparse_reward"] == pytest.approx([paid])


def test_what_is_near_can_be_set():
    positions = np.array([[0.5, 0.0]])
    assert GoalAngle(goal_radius=0.5).reward(np.array([EAST]), positions) == [0.5]
    assert GoalAngle(goal_radius=0.4).reward(np.array([EAST]), positions) == [0.0]


def test_angles_are_uniform_on_the_half_circle():
    family = GoalAngle()
    angles = family.sample(4000, np.random.default_rng(0))
    assert angles.shape == (4000, 1)
    assert np.histogram(angles, 4, (0, np.pi))[0] / 4000 == pytest.approx(0.25, abs=0.03)
    goals = family.goals(angles)
    np.testing.assert_allclose(np.linalg.norm(goals, axis=1), 1.0)
    assert goals[:, 1].min() >= 0.0
    assert family.describe(np.array(NORTH)) == "goal at 90°"


def test_splits_of_goal_angle():
    rng = np.random.default_rng(0)
    family = GoalAngle(((0.0, 1.0), (2.0, 2.5)), (1.0, 2.0))
    assert (family.space.low, family.space.high) == (0.0, 2.5)
    assert family.default == [0.5]
    for split in ("train", "validation"):  # nothing is held out for validation
        angles = family.sample(2000, rng, split)
        assert ((angles <= 1.0) | (angles >= 2.0)).all()
        assert angles.max() <= 2.5
        assert np.mean(angles < 1.5) == pytest.approx(2 / 3, abs=0.05)
    test = family.sample(2000, rng, "test")
    assert 1.0 <= test.min() < 1.05
    assert 1.95 < test.max() <= 2.0
    assert [line.shape for line in family.lines()] == [(100, 2)] * 3
    same = GoalAngle((0.5, 0.5))
    assert (same.sample(5, rng, "test") == 0.5).all()


def test_balanced_angles_are_one_from_each_part_of_the_range():
    rng = np.random.default_rng(0)
    whole = GoalAngle(balanced=True).sample(8, rng)[:, 0]
    np.testing.assert_array_equal(np.histogram(whole, 8, (0.0, np.pi))[0], 1)
    assert not (np.diff(whole) > 0).all()  # in random order
    parts = GoalAngle(((0.0, 1.0), (2.0, 3.0)), balanced=True).sample(4, rng)
    np.testing.assert_array_equal(np.histogram(parts, 6, (0.0, 3.0))[0], [1, 1, 0, 0, 1, 1])


@pytest.mark.parametrize("name", ["angle_range", "test_angle_range"])
@pytest.mark.parametrize("bad", [(2.0, 0.0), (0.0, np.inf), (1.0,), ((0, 1), (1, 2, 3)), 1.0])
def test_bad_ranges_of_angles_are_refused(name, bad):
    with pytest.raises(ValueError, match=f"^{name} "):
        GoalAngle(**{name: bad})


def test_degrees_are_refused():
    with pytest.raises(ValueError, match=r"angle_range is in radians, .* got \(0, 180\)"):
        GoalAngle((0, 180))


def test_other_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="goal_radius is -1"):
        GoalAngle(goal_radius=-1.0)
    for name in ("dense", "balanced"):
        with pytest.raises(TypeError, match=f"{name} is 'no'; it is True or False"):
            GoalAngle(**{name: "no"})
