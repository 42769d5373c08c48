"""The result of a step of any environment, and a check of the actions that lead to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

DIVERGED = "rlmaml/diverged"
"""Name in info by which learners know a step in which a simulation blew up. `diverged` says the
same to readers, but in another environment may mean anything."""


class StepResult(NamedTuple):
    """Outcome of one step of the m simulations that took it; fresh arrays, a row for each."""

    observations: np.ndarray  # [m, D], or integers [m]
    rewards: Floats  # [m]
    terminations: NDArray[np.bool_]  # [m]
    diverged: NDArray[np.bool_]  # [m]
    details: dict[str, Floats]  # for info, [m] each; the `reward_*` among them sum to the reward


def check_actions(
    actions: ArrayLike, space: spaces.Box | spaces.Discrete, count: int
) -> np.ndarray:
    """`actions` of `count` environments, whose action space is a Box or a Discrete, in C order.

    Of a Box they are float64, `[count, *space.shape]`, and may leave its bounds. Of a Discrete they
    are int64, `[count]`.

    Raises:
        ValueError: wrong shape; not finite (Box); not integers, or outside the space (Discrete).
    """
    if isinstance(space, spaces.Discrete):
        return _check_choices(actions, space, count)
    checked = np.ascontiguousarray(actions, dtype=np.float64)
    shape = (count, *(space.shape or ()))
    if checked.shape != shape:
        raise ValueError(
            f"actions have shape {checked.shape}, expected {shape}: environments x action size"
        )
    if not np.isfinite(checked).all():
        first = int(np.argmin(np.isfinite(checked).all(axis=1)))
        raise ValueError(
            f"environment {first} got a non-finite action {checked[first].tolist()}; "
            "look at the policy's parameters, its last update may have diverged"
        )
    return checked


def _check_choices(actions: ArrayLike, space: spaces.Discrete, count: int) -> NDArray[np.int64]:
    given = np.asarray(actions)
    if given.shape != (count,):
        raise ValueError(
            f"actions have shape {given.shape}, expected ({count},): "
            "an integer for each environment"
        )
    first, last = int(space.start), int(space.start + space.n) - 1
    if given.dtype.kind not in "iu":
        raise ValueError(
            f"actions are integers from {first} to {last}, but came as {given.dtype} "
            f"({given[:4].tolist()} ...); pass an integer array"
        )
    inside = (given >= first) & (given <= last)
    if not inside.all():
        first_wrong = int(np.argmin(inside))
        raise ValueError(
            f"environment {first_wrong} got the action {given[first_wrong]}; "
            f"its actions are the integers from {first} to {last}"
        )
    return np.ascontiguousarray(given, dtype=np.int64)
