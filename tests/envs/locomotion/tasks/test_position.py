"""Places on the plane to come to, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gymnasium import spaces

from envs.locomotion.env import LocomotionEnv
from envs.locomotion.robots.ant import Ant
from envs.locomotion.robots.base import Motion
from envs.locomotion.tasks import GoalPosition, LocomotionTasks
from envs.locomotion.vector_env import LocomotionVectorEnv


def placed(places):
    """Robots in places of the plane, `[m, 2]`, with velocities that pay nothing here."""
    places = np.asarray(places, dtype=np.float64)
    return Motion(places, np.full_like(places, 9.0))


TASKS = np.array([[1.0, 2.0], [0.0, 0.0], [-3.0, 0.0]])
PLACES = placed([[4.0, -2.0], [0.0, 0.0], [-3.0, 0.5]])


def test_a_place_pays_minus_the_distance_to_it():
    assert GoalPosition().reward(TASKS, PLACES).tolist() == [-7.0, 0.0, -0.5]
    euclidean = GoalPosition(distance="euclidean")
    assert euclidean.reward(TASKS, PLACES).tolist() == [-5.0, 0.0, -0.5]


def test_places_are_uniform_on_the_disk():
    family = GoalPosition(radius=2.0)
    drawn = family.sample(4000, np.random.default_rng(0))
    radii = np.linalg.norm(drawn, axis=1)
    assert radii.max() <= 2.0 * (1 + 1e-15)
    # Rings and sectors of the same area hold as many.
    rings = np.histogram(radii, 2.0 * np.sqrt([0.0, 0.25, 0.5, 0.75, 1.0]))[0] / 4000
    assert rings == pytest.approx(0.25, abs=0.03)
    sectors = np.histogram(np.arctan2(drawn[:, 1], drawn[:, 0]), 8, (-math.pi, math.pi))[0]
    assert sectors / 4000 == pytest.approx(1 / 8, abs=0.02)
    np.testing.assert_array_equal(family.check(drawn, 4000), drawn)


def test_splits_of_places():
    family = GoalPosition(angle_range=(0.0, 1.0), test_angle_range=(1.0, 3.0))
    rng = np.random.default_rng(0)
    for split, low, high in (("train", 0, 1), ("validation", 0, 1), ("test", 1, 3)):
        drawn = family.sample(500, rng, split)
        at = np.arctan2(drawn[:, 1], drawn[:, 0])
        assert ((at > low - 1e-12) & (at < high + 1e-12)).all()
        assert np.ptp(at) > 0.9 * (high - low)
    with pytest.raises(ValueError, match="split is 'dev'"):
        family.sample(1, rng, "dev")


def test_balanced_places_are_one_from_each_part_of_angles_and_distances():
    drawn = GoalPosition(balanced=True).sample(6, np.random.default_rng(0))
    at = np.arctan2(drawn[:, 1], drawn[:, 0]) % (2 * math.pi)
    assert np.histogram(at, 6, (0.0, 2 * math.pi))[0].tolist() == [1] * 6
    shares = np.square(drawn / 3.0).sum(axis=1)
    assert np.histogram(shares, 6, (0.0, 1.0))[0].tolist() == [1] * 6
    assert np.argsort(at).tolist() != np.argsort(shares).tolist()  # apart from each other


def test_the_default_place_is_on_the_rim_at_the_middle_of_the_range():
    default = GoalPosition(2.0, (0.0, math.pi)).default
    np.testing.assert_allclose(default, [0.0, 2.0], atol=1e-15)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"radius": 0.0}, "radius is 0.0; it is above 0"),
        ({"radius": np.inf}, "radius is inf"),
        ({"radius": np.nan}, "radius is nan"),
        ({"distance": "l1"}, "distance is 'l1'; there are 'manhattan' and 'euclidean'"),
        ({"angle_range": (2.0, 1.0)}, "angle_range has its lower end first"),
        ({"test_angle_range": (0.0,)}, "test_angle_range is"),
    ],
)
def test_bad_parameters_of_places_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        GoalPosition(**parameters)


def test_a_place_outside_the_box_is_refused():
    with pytest.raises(ValueError, match="outside the task space"):
        GoalPosition().check([[0.0, 3.5]], 1)


def test_a_place_in_words_and_for_frames():
    goal = GoalPosition().goal(np.array([1.0, -2.0]))
    assert goal.position.tolist() == [1.0, -2.0]
    assert goal.velocity is goal.direction is None
    assert GoalPosition().describe(np.array([1.0, -2.0])) == "goal (1.00, -2.00)"


@pytest.mark.parametrize("distance", ["manhattan", "euclidean"])
def test_an_ant_is_paid_for_where_it_is(distance):
    """By the simulation's own numbers; one environment and many of them pay the same."""
    family = GoalPosition(distance=distance)
    env = LocomotionEnv(Ant(), family)
    vector = LocomotionVectorEnv(Ant(), family, 3, num_threads=1, max_episode_steps=None)
    tasks = vector.sample_tasks(3, np.random.default_rng(0))
    vector.reset(seed=5, options={"tasks": tasks})
    env.reset(seed=6, options={"task": tasks[1]})
    rng = np.random.default_rng(1)
    order = 1 if distance == "manhattan" else 2
    for _ in range(20):
        actions = rng.uniform(-1, 1, (3, 8))
        info = env.step(actions[1])[4]
        expected = -np.linalg.norm(env.data.xpos[1, :2] - tasks[1], order)
        assert info["reward_forward"] == pytest.approx(expected, rel=1e-12)
        assert vector.step(actions)[4]["reward_forward"][1] == info["reward_forward"]


class Higher(LocomotionTasks):
    """A family that is not in the package: come to a place along y, and nothing for frames."""

    space = spaces.Box(-3.0, 3.0, (1,), dtype=np.float64)
    default = np.array([1.0])

    def sample(self, n, rng, split="train"):
        return rng.uniform(-3.0, 3.0, size=(n, 1))

    def reward(self, tasks, result):
        return -np.abs(result.position[:, 1] - tasks[:, 0])


def test_no_robot_knows_of_the_tasks():
    env = LocomotionEnv(Ant(), Higher())
    env.reset(seed=0, options={"task": np.array([2.0])})
    info = env.step(np.zeros(8))[4]
    assert info["reward_forward"] == -abs(env.data.xpos[1, 1] - 2.0)
    assert env.markers() == ()  # they ask for nothing that frames show
