"""Between the spaces of an environment and the tensors of a policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from rlmaml.errors import ConfigError

Points = Any
"""Points of a space, as vector environments batch them: an array [M, ...] of a Box, Discrete,
MultiDiscrete or MultiBinary, a dictionary or a tuple of such of a Dict or a Tuple."""

REACH = 2.0
"""Standard deviations within which the actions of a new policy lie, 95 % of them."""
LEAST_REACH = 1.0
"""Where they lie at least, however sure the policy: a new network's outputs are of this size."""
LEAST_COVERED = 0.05
"""The share of an action's range that a new policy must reach. Learning widens it by and by: ±40
is still reached with a standard deviation of 1. Navigation's ±0.1 and a pendulum's ±2 are reached
whole."""
NO_BOUND = 1e10
"""A bound of this size or more stands for none, as the largest of floats often does."""


def encoder(space: gymnasium.Space) -> tuple[Callable[[Points], np.ndarray], tuple[int, ...]]:
    """Make the function that hands observations to the policy, as float32 [M, *shape].

    Those of a Box keep their shape. All others become vectors, as of `gymnasium.spaces.flatten`.

    Raises:
        ConfigError: a space that has no vectors, such as a Graph, a Sequence or a Text.
    """
    if isinstance(space, Box):
        return lambda observations: np.asarray(observations).astype(np.float32), space.shape
    odd = _not_flat(space)
    if odd is not None:
        raise ConfigError(
            f"Observations must be a Box, Discrete, MultiDiscrete or MultiBinary, or a Dict or "
            f"Tuple of such; got {odd}, whose points are no vectors of one length. Wrap the "
            "environment in gymnasium.wrappers.TransformObservation."
        )
    shape = (gymnasium.spaces.flatdim(space),)
    return lambda observations: flatten(space, observations).astype(np.float32), shape


def flatten(space: gymnasium.Space, points: Points) -> np.ndarray:
    """Points as vectors [M, D], as `gymnasium.spaces.flatten` makes them of each.

    Numbers of a Discrete, and each of a MultiDiscrete, are one-hot; parts of a Dict or a Tuple
    come one after another, in the space's order.

    Raises:
        ConfigError: a number outside its space.
    """
    if isinstance(space, Dict):
        return _beside([flatten(each, points[key]) for key, each in space.spaces.items()])
    if isinstance(space, Tuple):
        return _beside([flatten(*pair) for pair in zip(space.spaces, points, strict=True)])
    points = np.asarray(points)
    if isinstance(space, Discrete):
        return one_hot(_numbers(space, points), int(space.n))
    if isinstance(space, MultiDiscrete):
        columns = (points - space.start).reshape(len(points), -1).T
        sizes = space.nvec.ravel().tolist()
        return _beside(
            [flatten(Discrete(n), column) for n, column in zip(sizes, columns, strict=True)]
        )
    return points.reshape(len(points), -1)


def stack(space: gymnasium.Space, points: Sequence[Any]) -> Points:
    """Single points as a vector environment batches them."""
    if isinstance(space, Dict):
        return {key: stack(each, [p[key] for p in points]) for key, each in space.spaces.items()}
    if isinstance(space, Tuple):
        return tuple(stack(each, [p[i] for p in points]) for i, each in enumerate(space.spaces))
    return np.stack([np.asarray(point) for point in points])


def one_or_several(space: gymnasium.Space, given: Any) -> tuple[Points, bool]:
    """A point, or several as a vector environment batches them, as several.

    Returns:
        The points, and whether they were several.

    Raises:
        ValueError: points of another shape.
    """
    leaf, part = space, given
    while isinstance(leaf, Dict | Tuple):  # the first part tells
        try:
            key = next(iter(leaf.spaces)) if isinstance(leaf, Dict) else 0
            leaf, part = leaf.spaces[key], part[key]  # pyright: ignore
        except (KeyError, IndexError, TypeError) as problem:
            raise ValueError(f"The policy observes {space}, got {given!r}.") from problem
    several = np.ndim(part) > len(leaf.shape or ())
    return _several(space, given, several), several


def _several(space: gymnasium.Space, given: Any, several: bool) -> Points:
    if isinstance(space, Dict | Tuple):
        keys = list(space.spaces) if isinstance(space, Dict) else range(len(space.spaces))
        try:
            parts = [_several(space[key], given[key], several) for key in keys]  # pyright: ignore
        except (KeyError, IndexError, TypeError) as problem:
            raise ValueError(f"The policy observes {space}, got {given!r}.") from problem
        return dict(zip(keys, parts, strict=True)) if isinstance(space, Dict) else tuple(parts)
    array, shape = np.asarray(given), space.shape or ()
    if array.ndim != len(shape) + several or array.shape[several:] != shape:
        raise ValueError(
            f"The policy observes {shape} or [M, {', '.join(map(str, shape))}], got an "
            f"observation of shape {array.shape}."
        )
    return array if several else array[None]


def action_filter(
    space: gymnasium.Space, rescale: bool = False
) -> Callable[[np.ndarray], np.ndarray]:
    """Make the function from a policy's actions [M, ...] to the environment's.

    It clips to a Box, and shifts numbers to where a Discrete or MultiDiscrete begins.

    Args:
        space: of actions.
        rescale: first map [-1, 1] to the bounds of a Box, where both are finite.

    Raises:
        ConfigError: a space that no policy here acts in, or to be scaled without being a Box.
    """
    if rescale and not isinstance(space, Box):
        raise ConfigError(
            f"env.rescale_actions is for a Box, but the actions are {space}: leave it out."
        )
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        low, high = space.low, space.high
        if not rescale:
            return lambda actions: actions.clip(low, high)
        scale, shift = affine(space)
        return lambda actions: (actions * scale + shift).clip(low, high).astype(space.dtype)
    if isinstance(space, Box):
        raise ConfigError(
            f"The actions {space} are integers, but a policy's are real numbers. Make them a "
            "Discrete or MultiDiscrete, or let the environment round: "
            "gymnasium.wrappers.TransformAction(env, np.rint, Box(..., dtype=np.float32))."
        )
    if isinstance(space, Discrete):
        return lambda actions: actions + space.start
    if isinstance(space, MultiDiscrete):
        return lambda actions: actions.reshape(-1, *space.shape).astype(space.dtype) + space.start
    if isinstance(space, MultiBinary):
        return lambda actions: actions.reshape(-1, *space.shape).astype(space.dtype)
    raise ConfigError(
        f"Actions must be a Box, Discrete, MultiDiscrete or MultiBinary, got {space}: wrap the "
        "environment in gymnasium.wrappers.TransformAction, so that it takes one of these."
    )


def affine(space: Box) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift that map [-1, 1] to a Box; 1 and 0 where it has not both bounds, and a scale
    of 1 where they are the same."""
    bounded = _bounded(space)
    low, high = (np.where(bounded, x, 0).astype(np.float64) for x in (space.low, space.high))
    scale, shift = np.where(high > low, (high - low) / 2, 1.0), (high + low) / 2
    return scale.astype(np.float32), shift.astype(np.float32)


def check_reach(space: gymnasium.Space, log_std: float, rescale: bool = False) -> None:
    """Check that a new policy's actions lie within a Box, and cover enough of it to learn from.

    They lie around 0, where the network's outputs begin. What has no bounds on either side is not
    looked at.

    Args:
        space: of actions; any other than a Box will do.
        log_std: of the new policy.
        rescale: as of `action_filter`.

    Raises:
        ConfigError: a Box that is clipped to, or of which too little is reached.
    """
    if not isinstance(space, Box):
        return
    reach = max(LEAST_REACH, REACH * float(np.exp(log_std)))
    low, high = (x.ravel().astype(np.float64) for x in (space.low, space.high))
    both = _bounded(space).ravel()
    if rescale:
        low, high = np.where(both, -1.0, low), np.where(both, 1.0, high)
    reached = np.minimum(high, reach) - np.maximum(low, -reach)
    width = np.where(both, high - low, np.inf)
    outside = (reached <= 0) & (width > 0)
    little = both & (width > 0) & (reached < LEAST_COVERED * width)
    if not (outside | little).any():
        return
    i = int(np.argmax(outside | little))
    if outside[i]:
        bound = low[i] if low[i] > 0 else high[i]
        found = f"none of it: all are clipped to {bound:g}, {abs(bound) - reach:.3g} away"
    else:
        found = f"{100 * reached[i] / width[i]:.2g} % of it"
    ways = (
        "Let the policy's outputs be scaled from [-1, 1] to the Box by --env.rescale-actions True, "
        "or wrap the environment in gymnasium.wrappers.RescaleAction(env, -1, 1); or let the Box "
        "be infinite, if its bounds are none."
    )
    if not both[i]:
        ways = "Wrap the environment in gymnasium.wrappers.TransformAction, to act around 0."
    if rescale and both[i]:
        ways = "Raise policy.init_log_std."
    raise ConfigError(
        f"Action {i} ranges from {low[i]:g} to {high[i]:g}, but those of a new policy, "
        f"within ±{reach:.3g}, reach {found}. {ways}"
    )


def _bounded(space: Box) -> np.ndarray:
    """Which actions of a Box have a bound on both sides."""
    return (np.abs(space.low) < NO_BOUND) & (np.abs(space.high) < NO_BOUND)


def _not_flat(space: gymnasium.Space) -> gymnasium.Space | None:
    """The first part of a space that has no vectors of one length; None if all have."""
    if isinstance(space, Dict | Tuple):
        parts = space.spaces.values() if isinstance(space, Dict) else space.spaces
        if not parts:
            return space
        return next((odd for each in parts if (odd := _not_flat(each)) is not None), None)
    return None if isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary) else space


def _beside(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts, 1)


def one_hot(numbers: np.ndarray, size: int) -> np.ndarray:
    """Numbers [M] as vectors [M, size] with a 1 at the place of each."""
    return (numbers[:, None] == np.arange(size)).astype(np.float64)


def _numbers(space: Discrete, points: np.ndarray) -> np.ndarray:
    """Points [M] of a Discrete counted from 0.

    Raises:
        ConfigError: one outside of it, which would be taken for another.
    """
    numbers = points - space.start
    outside = (numbers < 0) | (numbers >= space.n)
    if outside.any():
        raise ConfigError(
            f"The environment gave {points[outside][0]} for a point of {space}: mend its `step` or "
            "its space."
        )
    return numbers
