"""Angles on the plane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def on_circle(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of the unit circle, `[..., 2]`, at angles `[...]` from x toward y, in radians."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)
