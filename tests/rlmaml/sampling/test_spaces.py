"""Between the spaces of an environment and the tensors of a policy."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary

from rlmaml.sampling.spaces import action_filter, encoder


def test_observations_of_a_box_are_floats_and_of_a_discrete_one_hot():
    encode, shape = encoder(Box(-1, 1, (2, 3), np.float64))
    assert shape == (2, 3)
    assert encode(np.ones((4, 2, 3))).dtype == np.float32
    encode, shape = encoder(Discrete(3, start=5))
    assert shape == (3,)
    np.testing.assert_array_equal(encode(np.array([7, 5])), [[0, 0, 1], [1, 0, 0]])


def test_actions_are_clipped_to_a_box_and_shifted_to_a_discrete():
    clip = action_filter(Box(np.array([-1.0, 0.0]), np.array([1.0, 2.0]), dtype=np.float64))
    np.testing.assert_array_equal(clip(np.array([[-3.0, -3.0], [3.0, 1.5]])), [[-1, 0], [1, 1.5]])
    np.testing.assert_array_equal(action_filter(Discrete(3, start=5))(np.array([0, 2])), [5, 7])


@pytest.mark.parametrize("refuse", [encoder, action_filter])
def test_other_spaces_are_refused(refuse):
    with pytest.raises(TypeError, match="Box or Discrete"):
        refuse(MultiBinary(3))
