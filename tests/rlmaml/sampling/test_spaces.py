"""Between the spaces of an environment and the tensors of a policy."""

import gymnasium
import numpy as np
import pytest

from rlmaml.errors import ConfigError
from rlmaml.sampling.spaces import (
    action_filter,
    affine,
    check_reach,
    encoder,
    one_or_several,
    stack,
)

Box, Discrete = gymnasium.spaces.Box, gymnasium.spaces.Discrete
Dict, Tuple = gymnasium.spaces.Dict, gymnasium.spaces.Tuple
MultiDiscrete, MultiBinary = gymnasium.spaces.MultiDiscrete, gymnasium.spaces.MultiBinary

COMPOSITE = {
    "numbers": MultiDiscrete([2, 3], start=[4, -1]),
    "a table of numbers": MultiDiscrete([[2, 3], [4, 2]]),
    "bits": MultiBinary(3),
    "a table of bits": MultiBinary([2, 2]),
    "by name": Dict(b=Discrete(3, start=2), a=Box(-1, 1, (2, 3)), c=Box(0, 1, ())),
    "in order": Tuple([Box(-1, 1, (2,), np.float64), Discrete(2)]),
    "nested": Dict(x=Tuple([MultiBinary(2), Dict(y=MultiDiscrete([2, 2]), z=Discrete(2))])),
}


def test_boxes_reach_the_policy_as_they_are_in_single_precision():
    encode, shape = encoder(Box(-1, 1, (2, 3), np.float64))
    observations = np.random.default_rng(0).uniform(-1, 1, (5, 2, 3))
    assert shape == (2, 3)
    assert encode(observations).dtype == np.float32
    np.testing.assert_array_equal(encode(observations), observations.astype(np.float32))


@pytest.mark.parametrize("start", [0, -2, 5])
def test_numbers_reach_the_policy_one_hot_and_leave_it_counted_from_the_start(start):
    space = Discrete(3, start=start)
    encode, shape = encoder(space)
    assert shape == (3,)
    encoded = encode(np.array([start, start + 2, start + 1]))
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, np.eye(3)[[0, 2, 1]])
    taken = action_filter(space)(np.array([0, 2]))
    assert taken.tolist() == [start, start + 2]
    assert all(space.contains(action) for action in taken)


def test_actions_are_clipped_to_each_ones_own_bounds():
    to_env = action_filter(Box(np.array([-1.0, 0.0]), np.array([1.0, np.inf]), dtype=np.float64))
    np.testing.assert_array_equal(
        to_env(np.array([[-3.0, -3.0], [3.0, 3.0], [0.5, 0.5]])),
        [[-1.0, 0.0], [1.0, 3.0], [0.5, 0.5]],
    )


@pytest.mark.parametrize(
    "space",
    [
        gymnasium.spaces.Text(3),
        gymnasium.spaces.Sequence(Discrete(2)),
        gymnasium.spaces.Dict(a=Discrete(2), b=gymnasium.spaces.Tuple([gymnasium.spaces.Text(3)])),
        gymnasium.spaces.Dict(),
    ],
)
def test_observations_that_are_no_vectors_are_refused(space):
    with pytest.raises(ConfigError, match=r"Observations must be a Box, Discrete.*Transform"):
        encoder(space)


@pytest.mark.parametrize(
    "space",
    [gymnasium.spaces.Text(3), gymnasium.spaces.Tuple([Discrete(2), Discrete(2)])],
)
def test_actions_of_no_distribution_are_refused(space):
    with pytest.raises(ConfigError, match="Actions must be a Box, Discrete"):
        action_filter(space)


@pytest.mark.parametrize("name", COMPOSITE)
def test_composite_observations_are_what_gymnasium_flattens_them_to(name):
    space = COMPOSITE[name]
    space.seed(0)
    points = [space.sample() for _ in range(5)]
    flattened = [gymnasium.spaces.flatten(space, point) for point in points]
    expected = np.stack(flattened).astype(np.float32)
    encode, shape = encoder(space)
    batch = stack(space, points)
    assert shape == expected.shape[1:]
    np.testing.assert_array_equal(encode(batch), expected)
    assert encode(batch).dtype == np.float32
    for given, several in ((points[1], False), (batch, True)):
        taken, found = one_or_several(space, given)
        assert found == several
        np.testing.assert_array_equal(encode(taken), expected if several else expected[1:2])


@pytest.mark.parametrize("name", COMPOSITE)
def test_what_is_no_point_of_a_composite_space_is_refused(name):
    for odd in (np.zeros((2, 2, 2, 2)), {"q": 0}, None):
        with pytest.raises(ValueError, match="The policy observes"):
            one_or_several(COMPOSITE[name], odd)


@pytest.mark.parametrize(
    "space",
    [Discrete(3, start=1), MultiDiscrete([3, 2], start=[1, 0]), MultiBinary(2)],
)
def test_numbers_outside_their_space_are_not_taken_for_others(space):
    encode = encoder(space)[0]
    point = np.zeros((1, *space.shape), int)
    if isinstance(space, MultiBinary):
        np.testing.assert_array_equal(encode(point), point)  # which any number is a bit of
        return
    with pytest.raises(ConfigError, match=r"The environment gave (0|-1) for"):
        encode(point)


@pytest.mark.parametrize(
    "space",
    [MultiDiscrete([2, 3], start=[4, -1]), MultiDiscrete([[2, 3]]), MultiBinary([2, 2])],
)
def test_numbers_and_bits_reach_the_environment_as_points_of_its_space(space):
    to_env = action_filter(space)
    for row in to_env(np.ones((4, int(np.prod(space.shape))), np.int64)):
        assert space.contains(row)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, bool])
def test_a_box_of_integers_is_no_space_of_actions(dtype):
    with pytest.raises(ConfigError, match=r"are integers.*MultiDiscrete.*TransformAction"):
        action_filter(Box(0, 1, (2,), dtype))


def test_actions_are_scaled_to_the_bounds_they_have():
    low, high = [5, 0, -np.inf, 2, 3], [10, 1000, 1, np.inf, 3]
    space = Box(np.array(low, np.float32), np.array(high, np.float32))
    to_env = action_filter(space, rescale=True)
    given = np.array([[-1.0] * 5, [0.0] * 5, [1.0] * 5, [9.0] * 5, [-9.0] * 5], np.float32)
    np.testing.assert_allclose(
        to_env(given),
        [
            [5, 0, -1, 2, 3],
            [7.5, 500, 0, 2, 3],
            [10, 1000, 1, 2, 3],
            [10, 1000, 1, 9, 3],
            [5, 0, -9, 2, 3],
        ],
    )
    assert all(space.contains(action) for action in to_env(given))
    assert np.isfinite(affine(space)).all()
    with pytest.raises(ConfigError, match="for a Box, but the actions are Discrete"):
        action_filter(Discrete(2), rescale=True)


REACHED = [
    (-0.1, 0.1, 0.0),  # navigation
    (-0.4, 0.4, 0.0),  # humanoid
    (-2, 2, 0.0),  # pendulum
    (-1, 1, -4.0),  # sure from the start: its network's outputs are not
    (0, 1, 0.0),
    (-40, 40, 0.0),
    (1, 2, 0.0),
    (0, 1e-3, 0.0),
    (-np.inf, np.inf, 0.0),
    (0, np.inf, 0.0),
    (-3e38, 3e38, 0.0),
    (3, 3, 0.0),
    (-100, 100, 2.0),
]
MISSED = [
    (5, 10, 0.0, r"from 5 to 10.*within ±2, reach none.*clipped to 5, 3 away.*rescale-actions"),
    (-10, -5, 0.0, r"clipped to -5, 3 away"),
    (0, 1000, 0.0, r"reach 0.2 % of it.*RescaleAction\(env, -1, 1\)"),
    (-100, 100, 0.0, r"reach 2 % of it"),
    (-50, 50, -1.0, r"±1, reach 2 % of it"),
    (5, np.inf, 0.0, r"clipped to 5.*TransformAction"),
]


@pytest.mark.parametrize(("low", "high", "log_std"), REACHED)
def test_a_box_that_a_new_policy_can_learn_in_is_taken(low, high, log_std):
    for rescale in (False, True):
        check_reach(Box(low, high, (2,)), log_std, rescale)


@pytest.mark.parametrize(("low", "high", "log_std", "words"), MISSED)
def test_a_box_that_a_new_policy_does_not_reach_is_refused(low, high, log_std, words):
    space = Box(np.array([-1, low], np.float32), np.array([1, high], np.float32))
    with pytest.raises(ConfigError, match=words) as refused:
        check_reach(space, log_std)
    assert str(refused.value).startswith("Action 1 ")
    if np.isfinite(high):
        check_reach(space, log_std, rescale=True)


def test_actions_that_are_no_box_reach_everything():
    check_reach(Discrete(2), 0.0)
