"""Directions, forward or backward and in the plane, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from envs.locomotion.env import LocomotionEnv
from envs.locomotion.robots.ant import Ant
from envs.locomotion.robots.base import Motion
from envs.locomotion.tasks import Direction, PlaneDirection
from envs.locomotion.vector_env import LocomotionVectorEnv
from tests.helpers.robots import moving


def test_direction_pays_velocity_forward_or_backward():
    paid = Direction().reward(np.array([0, 1]), moving([2.0, 2.0]))
    np.testing.assert_array_equal(paid, [2.0, -2.0])


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


def test_the_goal_of_frames_is_a_direction():
    forward, backward = (Direction().goal(np.array(task)) for task in (0, 1))
    assert forward.direction.tolist() == [1.0, 0.0]
    assert backward.direction.tolist() == [-1.0, 0.0]
    assert forward.velocity is forward.position is None


HALF = math.sqrt(0.5)


def flown(velocities):
    """Robots with velocities in the plane, `[m, 2]`, in places that pay nothing here."""
    velocities = np.asarray(velocities, dtype=np.float64)
    return Motion(np.full_like(velocities, 7.0), velocities)


def angles(directions):
    """Angles from x toward y of directions, in [0, 2π)."""
    return np.arctan2(directions[:, 1], directions[:, 0]) % (2 * math.pi)


def test_a_direction_of_the_plane_pays_the_velocity_along_it():
    tasks = np.array([[1.0, 0.0], [0.0, -1.0], [HALF, HALF], [-0.6, 0.8]])
    result = flown([[2.0, 5.0], [3.0, 4.0], [1.0, 3.0], [-1.0, 2.0]])
    paid = PlaneDirection().reward(tasks, result)
    np.testing.assert_allclose(paid, [2.0, -4.0, 4.0 * HALF, 2.2], rtol=1e-14)
    doubled = PlaneDirection(forward_reward_weight=2.0).reward(tasks, result)
    np.testing.assert_allclose(doubled, 2.0 * paid, rtol=1e-14)


def test_directions_of_the_plane_are_uniform_on_the_circle():
    drawn = PlaneDirection().sample(4000, np.random.default_rng(0))
    assert drawn.shape == (4000, 2)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1.0, rtol=1e-14)
    shares = np.histogram(angles(drawn), 8, (0.0, 2 * math.pi))[0] / 4000
    assert shares == pytest.approx(1 / 8, abs=0.02)  # four standard deviations
    # They are points of the space, and of length 1.
    np.testing.assert_array_equal(PlaneDirection().check(drawn, 4000), drawn)


def test_splits_of_directions_of_the_plane():
    family = PlaneDirection((0.0, 1.0), (1.0, 1.5))
    rng = np.random.default_rng(0)
    for split, low, high in (("train", 0, 1), ("validation", 0, 1), ("test", 1, 1.5)):
        drawn = angles(family.sample(500, rng, split))
        assert drawn.min() == pytest.approx(low, abs=0.02)
        assert drawn.max() == pytest.approx(high, abs=0.02)
        assert ((drawn > low - 1e-12) & (drawn < high + 1e-12)).all()
    with pytest.raises(ValueError, match="split is 'dev'"):
        family.sample(1, rng, "dev")


def test_balanced_directions_of_the_plane_are_one_from_each_part():
    drawn = angles(PlaneDirection(balanced=True).sample(6, np.random.default_rng(0)))
    assert np.histogram(drawn, 6, (0.0, 2 * math.pi))[0].tolist() == [1] * 6
    assert not (np.diff(drawn) > 0).all()  # in random order


def test_the_default_direction_is_the_first_of_the_range():
    np.testing.assert_array_equal(PlaneDirection().default, [1.0, 0.0])
    default = PlaneDirection((math.pi / 2, math.pi)).default
    np.testing.assert_allclose(default, [0.0, 1.0], atol=1e-15)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ([0.6, 0.0], r"task 1 is \[0.6, 0.0\], of length 0.6; a direction has length 1"),
        ([1.0, 1.0], "of length 1.41421; a direction has length 1"),
        ([0.0, 0.0], "of length 0; "),
        ([1.0, 2e-3], "a direction has length 1"),
        ([2.0, 0.0], "outside the task space"),
        ([np.nan, 0.0], "outside the task space"),
    ],
)
def test_what_has_another_length_is_no_direction(task, message):
    with pytest.raises(ValueError, match=message):
        PlaneDirection().check([[1.0, 0.0], task], 2)


def test_directions_in_single_precision_are_of_length_1():
    drawn = PlaneDirection().sample(100, np.random.default_rng(0)).astype(np.float32)
    assert PlaneDirection().check(drawn, 100).dtype == np.float64


def test_bad_parameters_of_directions_are_refused():
    with pytest.raises(ValueError, match="angle_range has its lower end first"):
        PlaneDirection((1.0, 0.0))
    with pytest.raises(ValueError, match="test_angle_range is"):
        PlaneDirection(test_angle_range=(0.0, np.inf))
    with pytest.raises(TypeError, match="balanced is 'yes'"):
        PlaneDirection(balanced="yes")


def test_a_direction_of_the_plane_in_words_and_for_frames():
    family = PlaneDirection()
    assert family.describe(np.array([0.0, -1.0])) == "goal: 270°"
    assert family.describe(np.array([1.0, 0.0])) == "goal: 0°"
    assert family.goal(np.array([0.0, -1.0])).direction.tolist() == [0.0, -1.0]


def test_an_ant_is_paid_for_its_way_in_a_direction():
    """By the simulation's own numbers; one environment and many of them pay the same."""
    env = LocomotionEnv(Ant(), PlaneDirection())
    vector = LocomotionVectorEnv(Ant(), PlaneDirection(), 3, num_threads=1, max_episode_steps=None)
    tasks = vector.sample_tasks(3, np.random.default_rng(0))
    vector.reset(seed=5, options={"tasks": tasks})
    env.reset(seed=6, options={"task": tasks[1]})
    rng = np.random.default_rng(1)
    for _ in range(20):
        actions = rng.uniform(-1, 1, (3, 8))
        before = env.data.xpos[1, :2].copy()
        info = env.step(actions[1])[4]
        expected = (env.data.xpos[1, :2] - before) / env.dt @ tasks[1]
        assert info["reward_forward"] == pytest.approx(expected, rel=1e-12)
        assert vector.step(actions)[4]["reward_forward"][1] == info["reward_forward"]
