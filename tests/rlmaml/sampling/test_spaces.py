"""Between the spaces of an environment and the tensors of a policy."""

import gymnasium
import numpy as np
import pytest

from rlmaml.errors import ConfigError
from rlmaml.sampling.spaces import action_filter, encoder

Box, Discrete = gymnasium.spaces.Box, gymnasium.spaces.Discrete


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
