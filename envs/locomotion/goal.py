"""A goal, as tasks have it and frames show it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Goal(NamedTuple):
    """What a task asks for, as frames show it; None is what it does not ask for."""

    velocity: NDArray[np.float64] | None = None  # [2], along x and y, in meters a second
    direction: NDArray[np.float64] | None = None  # [2], of length 1: faster that way is better
    position: NDArray[np.float64] | None = None  # [2], x and y, in meters
