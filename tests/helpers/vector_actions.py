"""Actions for vector environments of any kind."""

from __future__ import annotations

import gymnasium
import numpy as np


def same_action(vector, value=0.0):
    """The same action for all, of the kind that the environment takes."""
    return np.full(vector.action_space.shape, value, dtype=vector.action_space.dtype)


def random_actions(vector, rng, scale=1.3):
    """Integers of a Discrete space, or numbers in ±scale: beyond the bounds of a robot's."""
    if isinstance(vector.single_action_space, gymnasium.spaces.Discrete):
        return rng.integers(vector.single_action_space.n, size=vector.num_envs)
    return rng.uniform(-scale, scale, vector.action_space.shape)
