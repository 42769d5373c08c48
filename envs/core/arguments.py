"""Checks of constructor arguments that several families share; each names what was wrong."""

from __future__ import annotations

import operator
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]
Range = Interval | tuple[Interval, ...]
"""One interval `(low, high)`, or several: `((0, 1), (2, 3))` leaves a hole between 1 and 2."""


def check_bool(name: str, given: bool) -> bool:
    """`given` itself.

    Raises:
        TypeError: not True or False. "false", the string, would count as true.
    """
    if not isinstance(given, bool):
        raise TypeError(f"{name} is {given!r}; it is True or False")
    return given


def check_count(name: str, given: SupportsIndex) -> int:
    """`given` as an integer.

    Raises:
        ValueError: not an integer, or below 1.
    """
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 1:
        raise ValueError(f"{name} is {given!r}; it is an integer, at least 1")
    return operator.index(given)


def check_scale(name: str, given: float) -> float:
    """`given`, a standard deviation.

    Raises:
        ValueError: negative or not finite.
    """
    if not (np.isfinite(given) and given >= 0.0):
        raise ValueError(f"{name} is {given}; it is at least 0, and finite")
    return float(given)


def check_interval(name: str, given: Interval) -> Interval:
    """`given` as two floats, low and high.

    Raises:
        ValueError: not two finite numbers with the lower first.
    """
    ends = _numbers(given)
    if ends.shape != (2,) or not np.isfinite(ends).all() or ends[0] > ends[1]:
        raise ValueError(f"{name} is (low, high), two finite numbers, got {given!r}")
    return float(ends[0]), float(ends[1])


def check_range(name: str, given: Range) -> NDArray[np.float64]:
    """A range as rows of (low, high), `[k, 2]`.

    Raises:
        ValueError: not one or several pairs of finite numbers with the lower first.
    """
    rows = np.atleast_2d(_numbers(given))
    if rows.ndim != 2 or rows.shape[1] != 2 or not np.isfinite(rows).all():
        raise ValueError(f"{name} is (low, high), or several of them, got {given!r}")
    if (rows[:, 0] > rows[:, 1]).any():
        raise ValueError(f"{name} has its lower end first, got {given!r}")
    return rows


def _numbers(given: Range) -> NDArray[np.float64]:
    """`given` as an array; an empty one where it is ragged or has something else than numbers."""
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        return np.zeros(0)
