"""Tasks of every kind: drawn from spaces, taken from samplers, and as plain values."""

import gymnasium
import numpy as np
import pytest

from rlmaml.errors import ConfigError
from rlmaml.rng import generator
from rlmaml.sampling.tasks import sample_space


def test_sample_space_covers_boxes_and_discretes_and_refuses_the_rest():
    box = gymnasium.spaces.Box(np.array([0.0, 10.0]), np.array([1.0, 11.0]), dtype=np.float64)
    drawn = sample_space(box, 500, generator(1))
    assert all(box.contains(point) for point in drawn)
    assert np.ptp(drawn, axis=0).min() > 0.9
    whole = gymnasium.spaces.Box(0, 2, (1,), np.int64)
    assert set(sample_space(whole, 99, generator(1)).ravel()) == {0, 1, 2}
    assert set(sample_space(gymnasium.spaces.Discrete(3, start=5), 99, generator(1))) == {5, 6, 7}
    with pytest.raises(ValueError, match="unbounded"):
        sample_space(gymnasium.spaces.Box(-np.inf, np.inf, (1,)), 1, generator(0))
    with pytest.raises(ConfigError, match="sample_tasks"):
        sample_space(gymnasium.spaces.Text(3), 1, generator(0))
