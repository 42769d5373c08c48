"""Between the spaces of an environment and the tensors of a policy."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium
import numpy as np

from rlmaml.errors import ConfigError


def encoder(space: gymnasium.Space) -> tuple[Callable[[np.ndarray], np.ndarray], tuple[int, ...]]:
    """Make the function that hands observations [M, ...] to the policy, as float32 [M, *shape]."""
    if isinstance(space, gymnasium.spaces.Box):
        return lambda observations: observations.astype(np.float32), space.shape
    if isinstance(space, gymnasium.spaces.Discrete):
        rows = np.eye(int(space.n), dtype=np.float32)
        return lambda observations: rows[observations - space.start], (int(space.n),)
    raise ConfigError(
        f"Observations must be a Box or Discrete, got {space}. Wrap the environment, "
        "for example in gymnasium.wrappers.FlattenObservation."
    )


def action_filter(space: gymnasium.Space) -> Callable[[np.ndarray], np.ndarray]:
    """Make the function that clips actions [M, ...] to a Box, or shifts them to a Discrete."""
    if isinstance(space, gymnasium.spaces.Box):
        return lambda actions: actions.clip(space.low, space.high)
    if isinstance(space, gymnasium.spaces.Discrete):
        return lambda actions: actions + space.start
    raise ConfigError(f"Actions must be a Box or Discrete, got {space}.")
