"""Arrows above a robot's torso that show its task, as MuJoCo geoms.

Pure functions.
"""

from __future__ import annotations

import math
from typing import TypedDict

import mujoco
import numpy as np
from numpy.typing import NDArray


class Marker(TypedDict):
    """Keywords of gymnasium's `viewer.add_marker`, which are those of `mujoco.mjv_initGeom` too."""

    type: mujoco.mjtGeom
    size: NDArray[np.float64]  # [3], in meters
    pos: NDArray[np.float64]  # [3], in meters
    mat: NDArray[np.float64]  # [9], a rotation matrix by rows
    rgba: NDArray[np.float64]  # [4]


GREEN = (0.1, 0.85, 0.25, 0.65)
"""The goal's color, translucent."""
ORANGE = (1.0, 0.5, 0.0, 0.95)
"""The velocity's."""
SCALE = 0.4
"""Length of an arrow in meters, for each meter a second."""
LONGEST = 1.1
"""Length in meters. Where an arrow would be longer, both are drawn to a smaller scale."""
HEIGHTS = (0.65, 0.5)
"""Heights of the goal and of the velocity above the torso, in meters."""
DIRECTION = 0.9
"""Length in meters of the arrow of a goal without a size."""
_WIDTH = 0.04
_SMALL = 0.02  # an arrow shorter than this, in meters, is a ball


def goal_markers(
    goal: float | None, velocity: float, torso: NDArray[np.float64]
) -> tuple[Marker, ...]:
    """Arrows for a goal velocity and for the velocity that the robot has.

    Args:
        goal: along x, in meters a second. Infinite is as fast as possible that way: one arrow
            shows it, across the torso. None draws nothing.
        velocity: along x, in meters a second.
        torso: its position, `[3]`, in meters.
    """
    if goal is None:
        return ()
    above, below = (torso + np.array([0.0, 0.0, height]) for height in HEIGHTS)
    if math.isinf(goal):
        length = math.copysign(DIRECTION, goal)
        return (arrow(above - [length / 2, 0.0, 0.0], length, GREEN),)
    fastest = max(abs(goal), abs(velocity))
    scale = min(SCALE, LONGEST / fastest) if fastest else SCALE
    return arrow(above, goal * scale, GREEN), arrow(below, velocity * scale, ORANGE)


def arrow(start: NDArray[np.float64], length: float, rgba: tuple[float, ...]) -> Marker:
    """An arrow along x, from `start`, `[3]`, in meters; a ball where `length` is nearly 0."""
    if abs(length) < _SMALL:
        kind, size = mujoco.mjtGeom.mjGEOM_SPHERE, np.full(3, 1.3 * _WIDTH)
    else:
        kind, size = mujoco.mjtGeom.mjGEOM_ARROW, np.array([_WIDTH, _WIDTH, 2 * abs(length)])
    # MuJoCo draws an arrow half as long as its size, along its own z axis.
    sign = math.copysign(1.0, length)
    mat = np.array([[0.0, 0.0, sign], [0.0, 1.0, 0.0], [-sign, 0.0, 0.0]])
    return {"type": kind, "size": size, "pos": start, "mat": mat.ravel(), "rgba": np.array(rgba)}
