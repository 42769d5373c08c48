"""Angles on the plane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .arguments import Range, check_range
from .ranges import Ranges


def on_circle(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of the unit circle, `[..., 2]`, at angles `[...]` from x toward y, in radians."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def angle_ranges(train: Range, test: Range | None = None) -> Ranges:
    """Ranges of angles in radians, `angle_range` to train on and `test_angle_range` to test on.

    Raises:
        ValueError: no range, or one that leaves -2π to 2π, as degrees would.
    """
    for name, given in (("angle_range", train), ("test_angle_range", test)):
        if given is not None and np.abs(check_range(name, given)).max() > 2 * np.pi:
            raise ValueError(f"{name} is in radians, from -2π to 2π, got {given!r}")
    return Ranges("angle_range", train, test)
